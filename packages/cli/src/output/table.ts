import { stripVTControlCharacters } from 'node:util';
import type { Colors } from '../terminal.ts';
import { cut } from './format.ts';

export interface Column<Row> {
  readonly header: string;
  value(row: Row): string;
  /** Colours the padded value. */
  paint?(text: string, row: Row): string;
  readonly align?: 'left' | 'right';
}

const gap = '   ';

/** Rows in aligned columns, as kubectl prints them: no frame, the header in capitals. */
export class Table<Row> {
  readonly #columns: readonly Column<Row>[];
  readonly #colors: Colors;
  readonly #width: number;
  #widths: number[];

  /** @param width cuts the last column, so that no row is longer */
  constructor(columns: readonly Column<Row>[], colors: Colors, width = Number.POSITIVE_INFINITY) {
    this.#columns = columns;
    this.#colors = colors;
    this.#width = width;
    this.#widths = columns.map(({ header }) => header.length);
  }

  /** Header and rows; the widths stay for rows that are rendered later. */
  render(rows: readonly Row[]): string[] {
    for (const row of rows) this.#widen(row);
    return [this.header(), ...rows.map((row) => this.row(row))];
  }

  header(): string {
    const cells = this.#columns.map(({ header, align }, at) => pad(header, this.#widths[at] ?? 0, align));
    return this.#colors.dim(cells.join(gap).trimEnd());
  }

  row(row: Row): string {
    this.#widen(row);
    const before = this.#widths.slice(0, -1).reduce((sum, width) => sum + width + gap.length, 0);
    const cells = this.#columns.map((column, at) => {
      const text = clean(column.value(row));
      const last = at === this.#columns.length - 1 && column.align !== 'right';
      const padded = last ? cut(text, this.#width - before) : pad(text, this.#widths[at] ?? 0, column.align);
      return column.paint ? column.paint(padded, row) : padded;
    });
    return cells.join(gap).trimEnd();
  }

  #widen(row: Row): void {
    this.#widths = this.#widths.map((width, at) => Math.max(width, clean(this.#columns[at]?.value(row) ?? '').length));
  }
}

/** Words from guests and manifests must not move the cursor or break a row. */
function clean(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/\s*[\r\n]+\s*/g, ' ');
}

function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  return align === 'right' ? text.padStart(width) : text.padEnd(width);
}

/** Names and values below one another. */
export function fields(pairs: readonly (readonly [name: string, value: string])[], colors: Colors): string[] {
  const width = Math.max(0, ...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${colors.dim(name.padEnd(width))}${gap}${value}`);
}
