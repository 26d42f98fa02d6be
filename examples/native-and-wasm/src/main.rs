//! The most frequent words of a text on standard input, and where it was counted.

use std::collections::HashMap;
use std::env::consts::{ARCH, OS};
use std::io::{stdin, Read};

const SHOWN: usize = 5;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    let mut counts: HashMap<String, usize> = HashMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let os = if OS.is_empty() { "wasi" } else { OS };
    println!("counted on {os}/{ARCH}");
    for (word, count) in words.iter().take(SHOWN) {
        println!("{count:6} {word}");
    }
    Ok(())
}
