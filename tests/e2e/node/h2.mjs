// A provider over TLS that speaks HTTP/2, and HTTP/1.1 beside it if told so; its answers say which one they came by.
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const [folder, both] = process.argv.slice(2);
const options = { key: readFileSync(`${folder}/key.pem`), cert: readFileSync(`${folder}/cert.pem`), allowHTTP1: both === "both" };
const server = createSecureServer(options, (request, response) => {
  request.resume();
  request.on("end", () => {
    const message = { role: "assistant", content: request.httpVersion };
    const choices = [{ index: 0, message, finish_reason: "stop" }];
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "m", choices }));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
