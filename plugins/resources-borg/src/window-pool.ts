import { CandidateWindow } from './candidate-window.ts';

/** Windows that are kept for later rounds. More than that are made anew. */
const keptMax = 512;

/** Windows to be used again by the next round: they hold nothing that it could see, but making them costs. */
export class WindowPool {
  readonly #windows: CandidateWindow[] = [];
  readonly #size: number;
  readonly #domains: number;
  #taken = 0;

  /** As for {@link CandidateWindow}. */
  constructor(size: number, domains: number) {
    this.#size = size;
    this.#domains = domains;
  }

  /** A window that nobody uses. It must be told to begin. */
  take(): CandidateWindow {
    const known = this.#windows[this.#taken++];
    if (known) return known;
    const made = new CandidateWindow(this.#size, this.#domains);
    if (this.#windows.length < keptMax) this.#windows.push(made);
    return made;
  }

  /** The round that took some is over. */
  giveBack(): void {
    this.#taken = 0;
  }
}
