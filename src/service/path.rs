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

/// And what is made one of them where letters that look alike are made one.
const SLASHES: [char; 7] = ['/', '\\', '\u{ff0f}', '\u{ff3c}', '\u{2044}', '\u{2215}', '\u{fe68}'];

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

    /// Whether a path is one of these to a server that takes large letters for small ones.
    pub fn fits_loosely(&self, path: &Path) -> bool {
        self.segments.len() == path.0.len() && self.segments.iter().zip(&path.0).all(|(segment, text)| segment.fits_loosely(text))
    }

    /// Whether they differ by the size of letters alone.
    pub fn is_alike(&self, other: &Template) -> bool {
        let is_alike = |(one, other): (&Segment, &Segment)| match (one, other) {
            (Segment::Text(one), Segment::Text(other)) | (Segment::Glob(one), Segment::Glob(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        };
        self != other && self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(is_alike)
    }

    /// Whether `;` means something in it.
    pub fn has_parameters(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Text(text) | Segment::Glob(text) if text.contains(';')))
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

    fn fits_loosely(&self, text: &str) -> bool {
        match self {
            Segment::Text(own) => own.eq_ignore_ascii_case(text),
            Segment::Glob(glob) => matches(&glob.to_ascii_lowercase(), &text.to_ascii_lowercase()),
        }
    }
}

// === impl Path ===

impl Path {
    /// Reads the path of a URL, from its first `/` on; the error says why it is refused.
    ///
    /// What an API, or a proxy before it, could take for another path is no path here: `.` and `..`, with parameters (`..;x`) and
    /// escaped once or more, backslashes and slashes that are escaped twice or look like one, control characters, and what is no UTF-8.
    /// A slash that is escaped once is part of a value; [`Path::unescaped`] is what else it could be taken for.
    pub fn read(raw: &str) -> Result<Path, &'static str> {
        let path = raw.strip_prefix('/').unwrap_or(raw).split('/').map(segment).collect::<Result<_, _>>().map(Path)?;
        match path.unescaped() {
            Some(unescaped) if unescaped.0.iter().any(|step| matches!(step.split(';').next(), Some("." | ".." | ""))) => {
                Err("it has a slash that is escaped, and would be another path without the escape")
            }
            _ => Ok(path),
        }
    }

    /// The path as a server may read it that takes escaped slashes for slashes, where there are any.
    pub fn unescaped(&self) -> Option<Path> {
        let has_slash = self.0.iter().any(|segment| segment.contains('/'));
        has_slash.then(|| Path(self.0.iter().flat_map(|segment| segment.split('/')).map(str::to_owned).collect()))
    }

    /// The path as a server may read it that drops parameters, what it takes for a query or fragment, and dots and spaces at the end.
    pub fn loosely(&self, has_parameters: bool) -> Path {
        let ends = |c: char| matches!(c, '?' | '#') || (c == ';' && !has_parameters);
        let read = |text: &String| text.split(ends).next().unwrap_or_default().trim_end_matches(['.', ' ']).to_owned();
        Path(self.0.iter().map(read).collect())
    }
}

fn segment(raw: &str) -> Result<String, &'static str> {
    let decoded = |text: &str| {
        percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| "it has an escape that is no UTF-8")
    };
    let once = decoded(raw)?;
    let mut text = once.clone();
    for _ in 0..LAYERS {
        let step = text.split(';').next().unwrap_or_default();
        if step == "." || step == ".." {
            return Err("it has a '.' or '..' in it");
        }
        // A slash that is escaped once may be part of a value: what it would be as a path is looked at as well.
        let odd = |c: char| SLASHES.contains(&c) && !(c == '/' && text == once);
        if text.contains(odd) {
            return Err("it has a slash or backslash that is escaped");
        }
        if text.chars().any(char::is_control) {
            return Err("it has a control character in it");
        }
        match decoded(&text)? {
            same if same == text => return Ok(once),
            deeper => text = deeper,
        }
    }
    Err("it is escaped over and over")
}

fn plain(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
