//! Rust's own TcpListener on a listening socket that was open from the start, descriptor 3 or the
//! given one: nothing but WASI 0.1 as standardised.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, RawFd};

fn answer(stream: TcpStream, descriptor: RawFd) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let files = std::fs::read_dir("/")?.count();
    let body = format!("descriptor {descriptor}, {files} files in /\n");
    write!(&stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    stream.shutdown(Shutdown::Write)
}

fn main() -> std::io::Result<()> {
    let descriptor = std::env::args().nth(1).map_or(3, |word| word.parse().unwrap());
    let listener = unsafe { TcpListener::from_raw_fd(descriptor) };
    println!("listening");
    for stream in listener.incoming() {
        if let Err(error) = answer(stream?, descriptor) {
            eprintln!("{error}");
        }
    }
    Ok(())
}
