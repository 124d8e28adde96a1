//! Verifies signatures by the library of Standard Webhooks for Rust. See signatures.py.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use standardwebhooks::Webhook;

fn main() {
    for line in std::io::stdin().lines().map(Result::unwrap) {
        let values: Vec<&str> = line.split('\t').collect();
        let mut headers = HeaderMap::new();
        for (name, value) in ["webhook-id", "webhook-timestamp", "webhook-signature"].into_iter().zip(&values[1..4]) {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let body = STANDARD.decode(values[4]).unwrap();
        let verified = Webhook::new(values[0]).unwrap().verify(&body, &headers);
        println!("{}", if verified.is_ok() { "accepted" } else { "refused" });
    }
}
