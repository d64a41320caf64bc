import { stringify } from 'yaml';
import type { Terminal } from '../terminal.ts';

/** Prints a value for programs. */
export function printStructured(terminal: Terminal, value: unknown, form: 'json' | 'yaml'): void {
  if (form === 'json') terminal.line(JSON.stringify(value, null, 2));
  else terminal.write(stringify(value, { lineWidth: 0 }));
}
