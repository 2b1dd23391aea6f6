/** Gives the rows of a table that concern a resource (a group-resource string), in their order: they are looked for once. */
export function rowsByResource<Row extends { resources?: string[] }>(table: Row[]): (resource: string) => Row[] {
  const known = new Map<string, Row[]>();
  return (resource) => {
    const rows = known.get(resource) ?? table.filter(({ resources }) => !resources || resources.includes(resource));
    known.set(resource, rows);
    return rows;
  };
}
