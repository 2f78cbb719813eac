// The official npm package through Keyward, beside the same package straight to the provider. `run.py` starts both.
// CommonJS, because only `require` looks for packages in NODE_PATH, outside the repository.
const { describe, it } = require("node:test");
const assert = require("node:assert/strict");
const OpenAI = require("openai");

const client = new OpenAI({ maxRetries: 0, timeout: 20_000 });
const direct = new OpenAI({ baseURL: process.env.DIRECT_URL, apiKey: process.env.DIRECT_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Say hello." }];
const weather = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
};

const plain = (value) => JSON.parse(JSON.stringify(value));

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(plain(chunk));
  return chunks;
}

describe("chat", () => {
  it("answers whole, as the provider does", async () => {
    const through = await client.chat.completions.create({ model: "test/gpt-4o-mini", messages });
    assert.equal(through.choices[0].message.content, "Hello there!");
    assert.equal(through.usage.total_tokens, 1200);
    assert.deepEqual(plain(through), plain(await direct.chat.completions.create({ model: "gpt-4o-mini", messages })));
  });

  for (const include_usage of [true, false]) {
    it(`streams, as the provider does, with include_usage ${include_usage}`, async () => {
      const ask = { messages, stream: true, stream_options: { include_usage } };
      const through = await collect(await client.chat.completions.create({ model: "test/gpt-4o-mini", ...ask }));
      assert.deepEqual(through, await collect(await direct.chat.completions.create({ model: "gpt-4o-mini", ...ask })));
    });
  }

  it("streams by the helper", async () => {
    const stream = client.chat.completions.stream({ model: "test/gpt-4o-mini", messages });
    assert.equal(await stream.finalContent(), "Hello there!");
  });

  it("runs tools", async () => {
    const asked = [];
    const tool = { ...weather.function, parse: JSON.parse, function: ({ city }) => asked.push(city) && "sunny" };
    const runner = client.chat.completions.runTools({ model: "test/tools", messages, tools: [{ type: "function", function: tool }] });
    assert.equal(await runner.finalContent(), "Sunny in Köln.");
    assert.deepEqual(asked, ["Köln"]);
  });

  it("parses by a JSON schema", async () => {
    const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
    const response_format = { type: "json_schema", json_schema: { name: "city", strict: true, schema } };
    const { choices } = await client.chat.completions.parse({ model: "test/schema", messages, response_format });
    assert.deepEqual(JSON.parse(choices[0].message.content), { city: "Köln" });
  });

  it("tells the request's id", async () => {
    const { response, request_id } = await client.chat.completions.create({ model: "test/gpt-4o-mini", messages }).withResponse();
    assert.equal(request_id, response.headers.get("x-request-id"));
    assert.equal(response.headers.get("keyward-provider"), "test");
  });

  it("can be aborted", async () => {
    const stream = await client.chat.completions.create({ model: "test/gpt-4o-mini", messages, stream: true });
    for await (const _ of stream) stream.controller.abort();
    assert.ok(stream.controller.signal.aborted);
  });
});

describe("other operations", () => {
  it("embeds", async () => {
    const { data } = await client.embeddings.create({ model: "test/embed", input: "Hi" });
    assert.deepEqual(data[0].embedding, [1, -2, 0.25]);
  });

  it("responds", async () => {
    const response = await client.responses.create({ model: "test/respond", input: "Hi" });
    assert.equal(response.output_text, "Servus!");
  });

  it("responds in a stream", async () => {
    const events = await collect(await client.responses.create({ model: "test/respond-stream", input: "Hi", stream: true }));
    assert.equal(events.at(-1).response.usage.total_tokens, 15);
  });

  it("lists models", async () => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.ok(ids.includes("test/gpt-4o-mini") && ids.includes("simulator/echo"));
  });

  it("knows a model by its name", async () => {
    assert.equal((await client.models.retrieve("test/gpt-4o-mini")).owned_by, "test");
    await assert.rejects(client.models.retrieve("test/none-such"), OpenAI.NotFoundError);
  });

  it("has a simulator", async () => {
    const { choices } = await client.chat.completions.create({ model: "simulator/echo", messages });
    assert.match(choices[0].message.content, /simulator.*Say hello\./is);
  });
});

describe("errors", () => {
  const classes = {
    400: OpenAI.BadRequestError,
    404: OpenAI.NotFoundError,
    422: OpenAI.UnprocessableEntityError,
    429: OpenAI.RateLimitError,
    500: OpenAI.InternalServerError,
  };
  for (const [status, expected] of Object.entries(classes)) {
    it(`of the provider: ${status}`, async () => {
      await assert.rejects(client.chat.completions.create({ model: `test/error-${status}`, messages }), (error) => {
        assert.equal(error.constructor, expected);
        assert.equal(error.error.message, "Not like this.");
        assert.equal(error.error.provider, "test");
        assert.equal(error.headers.get("retry-after"), "17");
        return true;
      });
    });
  }

  it("of a key", async () => {
    const stranger = new OpenAI({ apiKey: "kw_live_nonsense", maxRetries: 0 });
    await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  });

  it("of a model's name", async () => {
    await assert.rejects(client.chat.completions.create({ model: "none-such", messages }), { status: 404, code: "model_not_found" });
  });
});
