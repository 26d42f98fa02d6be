//! An HTTP server of hyper on tokio, in their editions for WasmEdge's sockets.
//!
//!     hyper [ADDRESS]       0.0.0.0:8080 by default; every path but /echo answers one line

use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::server::conn::Http;
use hyper::service::service_fn;
use hyper::{Body, Request, Response};
use tokio::net::TcpListener;

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let body = match request.uri().path() {
        "/echo" => request.into_body(),
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
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = Http::new().serve_connection(stream, service_fn(answer)).await {
                eprintln!("{error}");
            }
        });
    }
}
