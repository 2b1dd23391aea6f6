/** The TC39 proposal "JSON.parse source text access", which Node 24 has and TypeScript's libraries don't yet. */
interface JSON {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
  rawJSON(text: string): object;
  isRawJSON(value: unknown): boolean;
}
