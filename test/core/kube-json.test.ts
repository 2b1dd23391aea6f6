import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { listItems, metadataOf, parseExact } from "../../core/kube/json.ts";

/** JSON text of a value with white space where JSON allows it, drawn from `spaces`. */
function print(value: unknown, spaces: string[]): string {
  let drawn = 0;
  const space = () => spaces[drawn++ % spaces.length] ?? "";
  const go = (part: unknown): string => {
    if (Array.isArray(part))
      return `[${space()}${part.map((element) => `${space()}${go(element)}${space()}`).join(",")}]`;
    if (part === null || typeof part !== "object") return JSON.stringify(part);
    const members = Object.entries(part).map(
      ([key, member]) => `${space()}${JSON.stringify(key)}${space()}:${space()}${go(member)}${space()}`,
    );
    return `{${space()}${members.join(",")}}`;
  };
  return space() + go(value) + space();
}

const spaces = fc.array(fc.string({ unit: fc.constantFrom(" ", "\n", "\r", "\t"), maxLength: 3 }), {
  minLength: 1,
  maxLength: 7,
});
const key = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("items", "metadata", "kind", "apiVersion", 'a"b\\'),
);
const item = fc.dictionary(key, fc.jsonValue({ stringUnit: "binary" }), { noNullPrototype: true });
const parsed = (buffers: Buffer[]) => buffers.map((buffer) => JSON.parse(buffer.toString()));

suite("listItems", () => {
  test("cuts out the very bytes of each item, wherever the items stand and however the document is spaced", () => {
    const law = fc.property(
      fc.array(item),
      fc.array(item),
      spaces,
      fc.boolean(),
      (items, around, gaps, metadataFirst) => {
        const printed = items.map((one) => print(one, gaps));
        const metadata = `"metadata": ${print({ resourceVersion: "7", continue: "next", remainingItemCount: 3, x: around }, gaps)}`;
        const members = [`"items":${gaps[0]}[${printed.join(",")}${gaps[0]}]`, `"before":${print(around, gaps)}`];
        if (metadataFirst) members.unshift(metadata);
        else members.push(metadata);
        const list = listItems(Buffer.from(`${gaps[0]}{${members.join(`${gaps[0]},`)}}${gaps[0]}`));
        assert.deepEqual(
          list.items.map(String),
          printed.map((text) => text.trim()),
        );
        assert.deepEqual([list.resourceVersion, list.continue, list.remaining], ["7", "next", 3]);
      },
    );
    fc.assert(law);
  });

  test("fills in the type where an item lacks it, and leaves the rest of its bytes alone", () => {
    const type = { apiVersion: "apps/v1", kind: "Deployment" };
    const law = fc.property(fc.array(item), spaces, (items, gaps) => {
      const list = listItems(Buffer.from(print({ items }, gaps)), type);
      // Spread through JSON: "__proto__" as a key is no property of an object literal.
      const expected = items.map((one) => ({ ...type, ...JSON.parse(JSON.stringify(one)) }));
      assert.deepEqual(parsed(list.items), expected);
    });
    fc.assert(law);
    const [first] = listItems(Buffer.from('{"items":[{"metadata":{"generation":12345678901234567890}}]}'), type).items;
    assert.equal(
      String(first),
      '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"generation":12345678901234567890}}',
    );
  });

  test("finds the end of long strings, whatever is escaped in them", () => {
    const text = fc.string({ unit: fc.constantFrom('"', "\\", "a", "]", "}"), maxLength: 200 });
    const law = fc.property(fc.array(text), (texts) => {
      const items = texts.map((one) => JSON.stringify({ [one]: one }));
      assert.deepEqual(listItems(Buffer.from(`{"items":[${items.join()}]}`)).items.map(String), items);
    });
    fc.assert(law);
    assert.throws(() => listItems(Buffer.from(`{"items":[{"a":"${"b".repeat(100)}`)), { kind: "unreachable" });
  });

  const lists: [string, string, string[]][] = [
    ["null for no items", '{"kind":"PodList","items":null,"metadata":{"resourceVersion":"1"}}', []],
    ["an empty array", '{"items":[ ]}', []],
    ["no metadata", '{"items":[{}]}', ["{}"]],
    ["metadata null", '{"metadata":null,"items":[{"a":1}]}', ['{"a":1}']],
    [
      "brackets and quotes within strings",
      '{"items":[{"a":"]}\\"\\\\"},{"b":"[{"}]}',
      ['{"a":"]}\\"\\\\"}', '{"b":"[{"}'],
    ],
    ["a nested key named items", '{"x":{"items":[{"no":1}]},"items":[{"yes":1}]}', ['{"yes":1}']],
  ];
  for (const [name, body, items] of lists) {
    test(`takes ${name}`, () => assert.deepEqual(listItems(Buffer.from(body)).items.map(String), items));
  }

  test("an empty token and no token both mean the last page", () => {
    assert.equal(listItems(Buffer.from('{"items":[],"metadata":{"continue":""}}')).continue, undefined);
    assert.equal(listItems(Buffer.from('{"items":[]}')).continue, undefined);
  });

  test("refuses every document that was cut short, and what is no list", () => {
    const whole = '{"metadata":{"resourceVersion":"1"},"items":[{"a":"b\\n","c":[1,{"d":null}]},{"e":-1.5}]}';
    for (let length = 0; length < whole.length; length++) {
      assert.throws(
        () => listItems(Buffer.from(whole.slice(0, length))),
        { kind: "unreachable" },
        whole.slice(0, length),
      );
    }
    for (const body of [
      "<html>sign in</html>",
      "[]",
      '{"kind":"Status"}',
      '{"items":[1]}',
      `${whole}{}`,
      '{"items":[{"a" 1}]}',
      '{"items":[{} {}]}',
    ]) {
      assert.throws(
        () => listItems(Buffer.from(body)),
        { kind: "unreachable", message: /answer is not a complete list document/ },
        body,
      );
    }
  });
});

suite("parseExact", () => {
  test("gives every integer back with its digits, and everything else as JSON.parse does", () => {
    const number = fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n });
    fc.assert(
      fc.property(fc.array(number), fc.jsonValue(), (integers, other) => {
        const text = `{"a":[${integers.join(", ")}],"b":${JSON.stringify(other)}}`;
        const exact = parseExact(text);
        const rest = JSON.stringify(JSON.parse(text).b);
        assert.equal(JSON.stringify(exact), `{"a":[${integers.join(",")}],"b":${rest}}`);
      }),
    );
  });

  test("documents without such integers hold plain numbers, also from a Buffer", () => {
    assert.deepEqual(parseExact(Buffer.from('{"a":9007199254740991,"b":"12345678901234567890","c":0.1}')), {
      a: 9007199254740991,
      b: "12345678901234567890",
      c: 0.1,
    });
  });
});

test("metadataOf gives the metadata without annotations and managedFields, whatever the object holds", () => {
  const text = fc.oneof(fc.string(), fc.constantFrom('"managedFields":[', '\\"annotations":{', '"metadata":{'));
  const value = fc.oneof(text, fc.jsonValue({ stringUnit: "binary" }));
  const key = fc.oneof(text, fc.constantFrom("annotations", "managedFields", "name", "labels", "ownerReferences"));
  const fields = (keys: fc.Arbitrary<string>) => fc.dictionary(keys, value, { noNullPrototype: true });
  const before = fields(fc.constantFrom("kind", "apiVersion", "data"));
  fc.assert(
    fc.property(before, fields(key), value, spaces, (before, metadata, spec, gaps) => {
      const { annotations, managedFields, ...expected } = JSON.parse(JSON.stringify(metadata));
      assert.deepEqual(metadataOf(Buffer.from(print({ ...before, metadata, spec }, gaps).trim())), expected);
    }),
  );
  for (const odd of ['{"kind":"Odd"}', '{"metadata":{}}']) assert.deepEqual(metadataOf(Buffer.from(odd)), {});
  assert.equal(metadataOf(Buffer.from('{"metadata":null}')), null);
});
