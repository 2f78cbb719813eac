//! Embeddings: unit vectors that the same text always gets, and that mean nothing.

use async_openai::types::embeddings::{
    Base64Embedding, Base64EmbeddingVector, CreateBase64EmbeddingResponse, CreateEmbeddingResponse, Embedding, EmbeddingUsage,
};

use super::completions::inputs;
use super::reading::Request;
use super::{Bad, MODEL, Reply, marked, text};

const DIMENSIONS: u64 = 256;
const MOST_DIMENSIONS: u64 = 4_096;
/// As many inputs as OpenAI takes.
const MOST_INPUTS: usize = 2_048;
/// Of all vectors together, so that a small request cannot ask for gigabytes.
const MOST_NUMBERS: u64 = 1 << 20;

/// Answers an embedding request.
pub(super) fn reply(request: &Request) -> Result<Reply, Bad> {
    let input = request.get("input").ok_or_else(|| Bad::value("input", "is missing"))?;
    let texts = inputs(input).ok_or_else(|| Bad::value("input", "has to be a string, a list of strings, or tokens"))?;
    if texts.iter().any(String::is_empty) {
        return Err(Bad::value("input", "has an empty text in it"));
    }
    let dimensions = request.positive("dimensions")?.unwrap_or(DIMENSIONS);
    if dimensions > MOST_DIMENSIONS {
        return Err(Bad::value("dimensions", "is too large: the simulator makes 4096 at the most"));
    }
    if texts.len() > MOST_INPUTS || texts.len() as u64 * dimensions > MOST_NUMBERS {
        return Err(Bad::value("input", "has too many texts for one request"));
    }
    let is_base64 = match request.text("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Bad::value("encoding_format", "has to be 'float' or 'base64'")),
    };
    let tokens = texts.iter().fold(0_u32, |sum, one| sum.saturating_add(text::count(one)));
    let usage = EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens };
    let vectors = (0_u32..).zip(texts.iter().map(|text| unit_vector(text, dimensions)));
    let (object, model) = ("list".to_owned(), MODEL.to_owned());
    let kind = || "embedding".to_owned();
    Ok(Reply::Json(match is_base64 {
        false => {
            let data = vectors.map(|(index, embedding)| Embedding { index, object: kind(), embedding }).collect();
            marked(&CreateEmbeddingResponse { object, model, data, usage })
        }
        true => {
            let encoded =
                |vector: Vec<f32>| Base64EmbeddingVector(base64(&vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()));
            let data = vectors.map(|(index, vector)| Base64Embedding { index, object: kind(), embedding: encoded(vector) }).collect();
            marked(&CreateBase64EmbeddingResponse { object, model, data, usage })
        }
    }))
}

/// Numbers drawn by SplitMix64 from the text's FNV-1a hash, scaled to length 1.
fn unit_vector(text: &str, dimensions: u64) -> Vec<f32> {
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    let drawn: Vec<f64> = (0..dimensions).map(|_| draw()).collect();
    let length = drawn.iter().map(|x| x * x).sum::<f64>().sqrt();
    let length = if length > 0.0 { length } else { 1.0 };
    drawn.iter().map(|x| (x / length) as f32).collect()
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().enumerate().fold(0_u32, |bits, (at, &byte)| bits | u32::from(byte) << (16 - 8 * at));
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at)) & 63;
            out.push(if at <= three.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    out
}
