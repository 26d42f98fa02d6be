//! Servers and clients on the crate wasmedge_wasi_socket, which speaks the first of WasmEdge's ABIs.
//!
//!     hello serve [ADDRESS]            HTTP, one request at a time, as WasmEdge's own example does
//!     hello poll ADDRESS               echoes lines on many connections at once, without blocking
//!     hello udp ADDRESS                echoes packets, turned around
//!     hello get ADDRESS                prints the answer to a request for /
//!     hello lookup NAME                prints the addresses of a name
//!     hello options ADDRESS            what socket options and addresses of a connection say

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::time::Duration;

use wasmedge_wasi_socket::poll::{self, EventType, Subscription};
use wasmedge_wasi_socket::socket::{SocketOptLevel, SocketOptName};
use wasmedge_wasi_socket::{nslookup, Shutdown, TcpListener, TcpStream, UdpSocket};

const MOST_HEADERS: usize = 64 << 10;

/// Reads a request's head; `None` when the client left before the end of it.
fn head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            _ if head.len() > MOST_HEADERS => return Ok(None),
            n => head.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(Some(head))
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    if head(&mut stream)?.is_none() {
        return Ok(());
    }
    let body = "hello from Rust\n";
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain";
    stream.write_all(format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address, false)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept(false)?;
        if let Err(error) = answer(stream) {
            eprintln!("{error}");
        }
    }
}

/// Echoes what has come; `false` when the connection is over.
fn echo(stream: &mut TcpStream) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(n) => stream.write_all(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

fn serve_many(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address, true)?;
    println!("listening on {}", listener.local_addr()?);
    let mut streams: HashMap<u64, TcpStream> = HashMap::new();
    for made in 1.. {
        let mut subscriptions = vec![Subscription::io(0, &listener, true, false, None)];
        for (id, stream) in &streams {
            subscriptions.push(Subscription::io(*id, stream, true, false, None));
        }
        for event in poll::poll(&subscriptions)? {
            if let EventType::Error(error) = &event.event_type {
                println!("{error}");
            }
            if event.userdata == 0 {
                streams.insert(made, listener.accept(true)?.0);
            } else if let Some(stream) = streams.get_mut(&event.userdata) {
                if !echo(stream).unwrap_or(false) {
                    streams.remove(&event.userdata);
                }
            }
        }
    }
    Ok(())
}

fn serve_packets(address: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    println!("listening");
    let mut packet = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut packet)?;
        packet[..length].reverse();
        socket.send_to(&packet[..length], from)?;
    }
}

fn get(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.as_mut().set_recv_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    print!("{answer}");
    Ok(())
}

fn lookup(name: &str) -> io::Result<()> {
    for address in nslookup(name, "80")? {
        println!("{}", address.ip());
    }
    Ok(())
}

fn options(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    println!("peer {}", stream.peer_addr()?);
    println!("local {}", stream.local_addr()?.ip());
    let socket = stream.as_mut();
    socket.setsockopt(SocketOptLevel::SolSocket, SocketOptName::SoKeepalive, 1i32)?;
    println!("type {:?}, error {:?}", socket.r#type()?, socket.take_error());
    println!("keepalive {}, listener {}", socket.keepalive()?, socket.is_listener()?);
    println!("receive timeout {:?}", socket.get_recv_timeout()?);
    socket.set_recv_timeout(Some(Duration::from_millis(1500)))?;
    println!("receive timeout {:?}", socket.get_recv_timeout()?);
    socket.set_recv_timeout(Some(Duration::from_millis(20)))?;
    println!("nothing came: {:?}", stream.read(&mut [0; 1]).map_err(|error| error.kind()));
    Ok(())
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["serve"] => serve("0.0.0.0:8080"),
        ["serve", address] => serve(address),
        ["poll", address] => serve_many(address),
        ["udp", address] => serve_packets(address),
        ["get", address] => get(address),
        ["lookup", name] => lookup(name),
        ["options", address] => options(address),
        _ => Err(io::Error::other("see the top of this file")),
    }
}
