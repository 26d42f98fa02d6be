//! An HTTP server of hyper on tokio, in their editions for WasmEdge's sockets.
//!
//!     hyper [ADDRESS]       0.0.0.0:8080 by default
//!
//! Every path answers one line, but /echo the request's body and /who the client's address.

use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::server::conn::Http;
use hyper::service::service_fn;
use hyper::{Body, Request, Response};
use tokio::net::TcpListener;

async fn answer(
    request: Request<Body>,
    client: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    let body = match request.uri().path() {
        "/echo" => request.into_body(),
        "/who" => Body::from(format!("{client}\n")),
        _ => Body::from("hello from hyper\n"),
    };
    Ok(Response::new(body))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("0.0.0.0:8080".into());
    let listener = TcpListener::bind(address.parse::<SocketAddr>()?).await?;
    println!("listening on {address}");
    loop {
        let (stream, client) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, client));
            if let Err(error) = Http::new().serve_connection(stream, service).await {
                eprintln!("{error}");
            }
        });
    }
}
