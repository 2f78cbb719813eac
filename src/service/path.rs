//! Paths of an API: templates such as `/pets/{id}`, and the paths that callers ask for, which must lead nowhere else than they say.

use percent_encoding::percent_decode_str;

use crate::quota::limits::matches;

/// A path's template, as OpenAPI writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
    /// The names in `{}`, in order.
    pub names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(String),
    /// With `?*` for each `{name}`, which is never empty.
    Glob(String),
}

/// A path that can be passed on as it is; its segments are without escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<String>);

/// Escapes may be escaped again; nobody means more than this.
const LAYERS: usize = 4;

// === impl Template ===

impl Template {
    /// Reads one; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Template, String> {
        let path = text.strip_prefix('/').ok_or_else(|| format!("the path '{text}' has to begin with '/'"))?;
        let mut names = Vec::new();
        let segments = path.split('/').map(|segment| Segment::parse(segment, &mut names)).collect::<Result<_, _>>();
        Ok(Template { segments: segments.map_err(|why| format!("the path '{text}' {why}"))?, names })
    }

    /// Whether a path is one of these.
    pub fn fits(&self, path: &Path) -> bool {
        self.segments.len() == path.0.len() && self.segments.iter().zip(&path.0).all(|(segment, text)| segment.fits(text))
    }

    /// Orders templates by how much they leave open: of two that fit, the first says more.
    pub fn openness(&self) -> Vec<u8> {
        let of = |segment: &Segment| match segment {
            Segment::Text(_) => 0,
            Segment::Glob(glob) if glob != "?*" => 1,
            Segment::Glob(_) => 2,
        };
        self.segments.iter().map(of).collect()
    }
}

// === impl Segment ===

impl Segment {
    fn parse(text: &str, names: &mut Vec<String>) -> Result<Segment, String> {
        let (mut glob, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("has a '{' without its '}'")?;
            if names.iter().any(|known| known == name) {
                return Err(format!("names '{name}' twice"));
            }
            glob.push_str(before);
            glob.push_str("?*");
            names.push(name.to_owned());
            rest = after;
        }
        if rest == text {
            return Ok(Segment::Text(plain(text)));
        }
        if text.contains(['*', '?']) {
            return Err("has a '*' or '?' beside a '{name}'".to_owned());
        }
        glob.push_str(rest);
        Ok(Segment::Glob(plain(&glob)))
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Segment::Text(own) => own == text,
            Segment::Glob(glob) => matches(glob, text),
        }
    }
}

// === impl Path ===

impl Path {
    /// Reads the path of a URL, from its first `/` on; the error says why it is refused.
    ///
    /// What an API, or a proxy before it, could take for another path is no path here: `.` and `..`, with parameters (`..;x`) and
    /// escaped once or more, slashes and backslashes that are escaped, and control characters.
    pub fn read(raw: &str) -> Result<Path, &'static str> {
        raw.strip_prefix('/').unwrap_or(raw).split('/').map(segment).collect::<Result<_, _>>().map(Path)
    }
}

fn segment(raw: &str) -> Result<String, &'static str> {
    let once = plain(raw);
    let mut text = once.clone();
    for _ in 0..LAYERS {
        let step = text.split(';').next().unwrap_or_default();
        if step == "." || step == ".." {
            return Err("it has a '.' or '..' in it");
        }
        if text.contains(['/', '\\']) {
            return Err("it has a slash or backslash that is escaped");
        }
        if text.chars().any(char::is_control) {
            return Err("it has a control character in it");
        }
        match plain(&text) {
            same if same == text => return Ok(once),
            deeper => text = deeper,
        }
    }
    Err("it is escaped over and over")
}

fn plain(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
