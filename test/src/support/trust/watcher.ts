import type { RecordedEvent } from '@cloudos/sdk';
import type { SeededRandom } from '@cloudos/testing';
import { randomFilter, selects } from './filters.ts';
import { type Asked, type FormName, forms, type Target } from './forms.ts';
import { Numbers, sumOf, type Verdict, verdictOf } from './verdict.ts';

const formNames = Object.keys(forms) as FormName[];

/** One subscriber: it keeps the position and a sum of each event that it got, in the order in which they came. */
export class Watcher {
  readonly #target: Target;
  readonly #random: SeededRandom;
  readonly #form: FormName;
  readonly #asked: Asked;
  readonly #from: number;
  readonly #got = new Numbers();
  readonly #said = new Numbers();
  #life = 0;
  #stop: () => void = () => {};
  /** Everything up to there was delivered. */
  level = -1;
  failure: unknown;
  /** Connections that it has had. */
  connections = 0;
  /** Whether it has had one since that was last set. */
  isBack = false;

  /** @param knownTo where it may begin at most */
  constructor(target: Target, random: SeededRandom, knownTo: number) {
    this.#target = target;
    this.#random = random;
    this.#form = random.pick(formNames);
    const protocol = random.chance(0.5) ? 'compact' : 'standard';
    this.#asked = { filter: randomFilter(random), protocol, compression: random.chance(0.2) };
    this.#from = random.chance(0.7) ? 0 : random.int(Math.max(1, knownTo));
  }

  get told(): number {
    return this.#got.length;
  }

  /** Begins, or goes on where it was, as a program does that was restarted. */
  begin(): void {
    this.#stop();
    const life = ++this.#life;
    const isCurrent = () => life === this.#life;
    const last = () => this.#got.last();
    const first = this.#from;
    this.#stop = forms[this.#form](
      this.#target,
      this.#asked,
      {
        get next() {
          return (last() ?? first - 1) + 1;
        },
        take: (event) => isCurrent() && this.#take(event),
        level: (position) => {
          if (isCurrent()) this.level = position;
        },
        opened: () => {
          this.connections++;
          this.isBack = true;
        },
        fail: (error) => {
          if (isCurrent()) this.failure ??= error;
        },
      },
      this.#random,
    );
  }

  stop(): void {
    this.#stop();
    this.#life++;
  }

  verdict(log: readonly RecordedEvent[], sums: Uint32Array): Verdict & { readonly who: string } {
    const { filter, protocol, compression } = this.#asked;
    const wanted: number[] = [];
    const isSelected = selects(filter, log);
    for (const event of log) if (event.position >= this.#from && isSelected(event)) wanted.push(event.position);
    const how = `${this.#form}, ${protocol}${compression ? ', compressed' : ''}`;
    const who = `${JSON.stringify(filter)} from ${this.#from} (${how})`;
    return { ...verdictOf(this.#got, this.#said, wanted, sums), who };
  }

  #take(event: RecordedEvent): void {
    this.#got.push(event.position);
    this.#said.push(sumOf(event));
  }
}
