// The newer TypeScript SDK chooses the newest revision by itself, and calls a server of an older one; prints what it saw as JSON.
import { pathToFileURL } from "node:url";
import path from "node:path";

const [packages, url, key] = process.argv.slice(2);
const sdk = path.join(packages, "@modelcontextprotocol/client/dist/index.mjs");
const { Client, StreamableHTTPClientTransport } = await import(pathToFileURL(sdk));

const client = new Client({ name: "tests", version: "1" }, { versionNegotiation: { mode: "auto" } });
const requestInit = { headers: { Authorization: `Bearer ${key}` } };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
const result = await client.callTool({ name: "everything__echo", arguments: { message: "from TypeScript" } });
console.log(JSON.stringify({ version: client.getNegotiatedProtocolVersion(), said: result.content[0].text }));
await client.close();
