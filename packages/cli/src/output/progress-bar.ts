import type { Terminal } from '../terminal.ts';
import { bytes } from './format.ts';

/** As often as people can see it. */
const everyMs = 100;
const widthMax = 30;

/** Long work as a bar on standard error that replaces itself: for people only, and gone when it is done. */
export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #shown: boolean;
  #last = 0;
  #drawn = false;

  /** @param shown false where nobody watches: into a pipe, or for programs */
  constructor(terminal: Terminal, shown: boolean) {
    this.#terminal = terminal;
    this.#shown = shown;
  }

  show(what: string, doneBytes: number, totalBytes: number | undefined, now = Date.now()): void {
    if (!this.#shown || (now - this.#last < everyMs && doneBytes !== totalBytes)) return;
    this.#last = now;
    this.#drawn = true;
    this.#terminal.writeError(`\r\u001b[2K${barText(what, doneBytes, totalBytes)}`);
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.#drawn) this.#terminal.writeError('\r\u001b[2K');
    this.#drawn = false;
  }
}

/** `root file system  ██████░░░░  12 MiB of 20 MiB`. */
export function barText(what: string, doneBytes: number, totalBytes: number | undefined): string {
  if (totalBytes === undefined || totalBytes === 0) return `${what}  ${bytes(doneBytes)}`;
  const filled = Math.round((Math.min(doneBytes, totalBytes) / totalBytes) * widthMax);
  const bar = '█'.repeat(filled) + '░'.repeat(widthMax - filled);
  return `${what}  ${bar}  ${bytes(doneBytes)} of ${bytes(totalBytes)}`;
}
