// The official TypeScript SDK lists and calls through the gateway; prints what it saw as JSON.
import { pathToFileURL } from "node:url";
import path from "node:path";

const [packages, url, key] = process.argv.slice(2);
const sdk = (file) => import(pathToFileURL(path.join(packages, "@modelcontextprotocol/sdk/dist/esm", file)));
const { Client } = await sdk("client/index.js");
const { StreamableHTTPClientTransport } = await sdk("client/streamableHttp.js");

const client = new Client({ name: "tests", version: "1" });
const requestInit = { headers: { Authorization: `Bearer ${key}` } };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
const { tools } = await client.listTools();
const result = await client.callTool({ name: "everything__echo", arguments: { message: "from TypeScript" } });
const { prompts } = await client.listPrompts();
const { resources } = await client.listResources();
console.log(JSON.stringify({
    tools: tools.map((tool) => tool.name),
    said: result.content[0].text,
    prompts: prompts.length,
    resources: resources.map((resource) => resource.uri),
}));
await client.close();
