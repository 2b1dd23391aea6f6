import pLimit from "p-limit";
import { type Bucket, type CatalogRow, rowProblem } from "../../core/index.ts";
import type { Invocation } from "./options.ts";
import { columns, phaseText, printable, printResult, say } from "./output.ts";
import { openExisting } from "./session.ts";
import { readMade } from "./underway.ts";

/** What a listing needs to know of its kind of records and their documents. */
export interface Listing<Stored, Document> {
  kind: "backup" | "restore";
  read(bucket: Bucket, name: string, signal: AbortSignal): Promise<Stored>;
  list(bucket: Bucket, signal: AbortSignal): Promise<CatalogRow<Stored>[]>;
  document(bucket: Bucket, record: Stored, signal: AbortSignal): Promise<Document>;
  columns: Record<string, (document: Document) => string>;
}

/** A record or its report that can't be read, in a list of documents. */
interface Unreadable {
  schemaVersion: 1;
  kind: "backup" | "restore";
  name: string;
  location: string;
  problem: string;
  startTimestamp?: undefined;
}

const READS_AT_ONCE = 16;

/** `lifeboat backup|restore get [NAME]`: one document, or all of them, newest first. */
export async function getDocuments<Stored, Document extends { name: string; startTimestamp?: string }>(
  { args, options, signal }: Invocation,
  listing: Listing<Stored, Document>,
): Promise<undefined> {
  const { kind } = listing;
  const bucket = await openExisting(options);
  const name = args[0] as string | undefined;
  if (name !== undefined) {
    const record = await readMade({ bucket, kind, name, signal }, () => listing.read(bucket, name, signal));
    const document = await listing.document(bucket, record, signal);
    await printResult(options.output, document, () => table(listing, [document]));
    return;
  }
  const limit = pLimit(READS_AT_ONCE);
  const unreadable = (row: string, problem: string): Unreadable => ({
    ...{ schemaVersion: 1, kind, name: row, location: bucket.location },
    problem,
  });
  const read = async (row: CatalogRow<Stored>): Promise<Document | Unreadable> => {
    if (row.problem !== undefined) return unreadable(row.name, row.problem);
    try {
      return await listing.document(bucket, row.record, signal);
    } catch (error) {
      return unreadable(row.name, rowProblem(error));
    }
  };
  const rows = await listing.list(bucket, signal);
  const documents = newestFirst(await Promise.all(rows.map((row) => limit(read, row))));
  if (documents.length === 0) say(`No ${kind}s in ${bucket.location}`);
  const list = { schemaVersion: 1, kind: `${kind}List`, location: bucket.location, [`${kind}s`]: documents };
  await printResult(options.output, list, () => (documents.length === 0 ? "" : table(listing, documents)));
}

function table<Document extends object>(
  listing: Pick<Listing<never, Document>, "columns">,
  documents: (Document | Unreadable)[],
): string {
  const rows = documents.map((document) =>
    "problem" in document
      ? [printable(document.name), phaseText("Unreadable"), printable(document.problem)]
      : Object.values(listing.columns).map((cell) => cell(document)),
  );
  return columns([Object.keys(listing.columns), ...rows]);
}

function newestFirst<Document extends { name: string; startTimestamp?: string }>(documents: Document[]): Document[] {
  const key = ({ startTimestamp = "", name }: Document) => `${startTimestamp} ${name}`;
  return documents.sort((a, b) => (key(a) < key(b) ? 1 : -1));
}
