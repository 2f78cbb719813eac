"""What media says: a short print of its bytes, wherever they stand; and what the tests' own provider serves by URL."""

import base64
import hashlib
import json
import re

FETCHED = "http://127.0.0.1"


def print_of(data):
    """Of text its print, of base64 that of the bytes, of a URL that of what it is answered with here, or of the URL itself."""
    data = data or ""
    if data.startswith("data:text/plain,"):
        return short(data.encode())
    data = re.sub(r"^data:[^,]*,", "", data)
    if data.startswith(FETCHED):
        return short(media_at(data))
    found = as_bytes(data)
    return short(data.encode() if found is None else found)


def short(found):
    return hashlib.sha1(found).hexdigest()[:12]


def as_bytes(data):
    plain = data.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        return None


def text_of(data, mime=None):
    """The words of base64 that is plain text; `None` of what is none."""
    found = re.match(r"^data:([^;,]*)[^,]*,", data or "")
    kind = found[1] if found else mime or ""
    is_text = kind.startswith("text/") or kind in ("application/json", "application/xml", "application/yaml")
    if not is_text or data.startswith(("http", "gs:", "s3:")):
        return None
    try:
        return (as_bytes(data[found.end():] if found else data) or b"").decode()
    except ValueError:
        return None


def media_at(url):
    """What the provider of the tests answers to a URL of its own: bytes that are no text."""
    return b"\xff" + url.encode()


def with_own_urls(body, base):
    """A request whose media is named by URLs that can be fetched here."""
    def own(found):
        kind = re.search(r"\.(png|jpe?g|webp|webm|gif|pdf|wav|mp3|mp4|mkv|txt|csv|md)$", found[1].split("?")[0])
        return json.dumps(f"{base}/media/{hashlib.sha1(found[1].encode()).hexdigest()[:8]}.{kind[1] if kind else 'png'}")

    return json.loads(re.sub(r'(?<=: )"(https://[^"\s]+)"', own, json.dumps(body)))


def kind_of(mime):
    kind = (mime or "").split("/")[0]
    return kind if kind in ("image", "audio", "video") else "document"
