/** The fields of one line of CSV (RFC 4180): quotes around a field, doubled within. Undefined: a quote is not closed. */
export function fieldsOf(line: string): string[] | undefined {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (line[at] === '"') {
      let field = '';
      for (;;) {
        const end = line.indexOf('"', at + 1);
        if (end < 0) return undefined;
        field += line.slice(at + 1, end);
        at = end + 1;
        if (line[at] !== '"') break;
        field += '"';
      }
      fields.push(field);
    } else {
      const end = line.indexOf(',', at);
      fields.push(line.slice(at, end < 0 ? undefined : end));
      at = end < 0 ? line.length : end;
    }
    if (at >= line.length) return fields;
    at++; // the comma
    if (at === line.length) return [...fields, ''];
  }
}

/** A field as it stands in CSV. */
export function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
