const columns = ['name', 'value', 'unit', 'bound', 'ratio', 'target', 'met'];
const numeric = new Set(['value', 'bound', 'ratio']);

/** Benchmark rows as a table for people. */
export function table(rows) {
  const lines = [columns, ...rows.map((row) => columns.map((column) => cell(row, column)))];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index].length)));
  return lines
    .map((line) =>
      line
        .map((text, index) => (numeric.has(columns[index]) ? text.padStart(widths[index]) : text.padEnd(widths[index])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function cell(row, column) {
  const value = row[column];
  if (column === 'met') return value === null ? 'reported' : value ? 'yes' : 'NO';
  if (value === null || value === undefined) return '–';
  if (column === 'ratio') return value.toFixed(2);
  return typeof value === 'number' ? number(value) : String(value);
}

function number(value) {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
