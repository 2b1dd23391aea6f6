/** A page of facts and tables, for people. All text is plain: what is markup in it is shown, not obeyed. */
export interface HtmlPage {
  title: string;
  facts: [name: string, value: string][];
  sections: Section[];
}

export interface Section {
  heading: string;
  /** What stands under the heading where there is nothing to show. */
  empty?: string;
  tables: HtmlTable[];
}

export interface HtmlTable {
  caption: string;
  columns: string[];
  rows: string[][];
  /** Shown at once; others when their caption is asked for. */
  open: boolean;
}

/**
 * One self-contained HTML document: nothing is loaded, nothing runs. Readable in light and dark, on paper and on a phone,
 * and with a screen reader (headings in order, captions, header cells).
 */
export function htmlPage({ title, facts, sections }: HtmlPage): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<dl>
${facts.map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`).join("\n")}
</dl>
${sections.map(section).join("\n")}
</main>
</body>
</html>
`;
}

function section({ heading, empty, tables }: Section): string {
  const body = tables.length > 0 ? tables.map(table).join("\n") : `<p>${escaped(empty ?? "None.")}</p>`;
  return `<section>\n<h2>${escaped(heading)}</h2>\n${body}\n</section>`;
}

function table({ caption, columns, rows, open }: HtmlTable): string {
  const head = columns.map((column) => `<th scope="col">${escaped(column)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((cell) => `<td>${escaped(cell)}</td>`).join("")}</tr>`).join("\n");
  return `<details${open ? " open" : ""}>
<summary>${escaped(caption)}</summary>
<div class="wide"><table>
<caption class="hidden">${escaped(caption)}</caption>
<thead><tr>${head}</tr></thead>
<tbody>
${body}
</tbody>
</table></div>
</details>`;
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text as HTML shows it, in an element or in a quoted attribute; without control characters, which HTML forbids. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!).replace(/[^\P{Cc}\t\n]/gu, " ");
}

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d5d9df, #3b4048); --quiet: light-dark(#59616c, #a4acb8);
  --ground: light-dark(#ffffff, #16191d); --raised: light-dark(#f5f6f8, #1f2329); }
body { margin: 0; background: var(--ground); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .75rem 1.5rem; margin: 0;
  padding: 1rem; background: var(--raised); border-radius: .5rem; }
dt { color: var(--quiet); font-size: .85rem; } dd { margin: 0; }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; }
summary { padding: .5rem .75rem; cursor: pointer; font-weight: 600; }
.wide { overflow-x: auto; border-top: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem; min-width: 8rem; }
th { color: var(--quiet); font-weight: 600; } tbody tr { border-top: 1px solid var(--line); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media print { main { max-width: none; padding: 0; } details::details-content { content-visibility: visible; height: auto; } }
`;
