-- Under which key the gateway seals credentials: something that it has sealed, which opens under that key alone.
CREATE TABLE IF NOT EXISTS seal (mark BLOB NOT NULL);
