import type { CloudosClient } from '@cloudos/client';
import type { EventData, RecordedEvent, SharedEvent } from '@cloudos/sdk';
import { bytes, cores } from '../output/format.ts';
import type { Colors, Terminal } from '../terminal.ts';

/** A step: one word, right of it what it is about. */
export function stepLine(
  colors: Colors,
  word: string,
  text: string,
  paint: (text: string) => string = colors.dim,
): string {
  return `  ${paint(word.padEnd(9))} ${text.trim().replaceAll(/\s*[\r\n]+\s*/g, '; ')}`;
}

/** An event as a step that a person wants to follow; undefined for the others. */
export function progressLine(recorded: RecordedEvent, colors: Colors): string | undefined {
  const { green, red, yellow, dim } = colors;
  const event = recorded as SharedEvent;
  const step = (word: string, text: string, paint?: (text: string) => string) => stepLine(colors, word, text, paint);
  switch (event.type) {
    case 'NodeJoined': {
      const { node, capacity, runtimes } = event.data;
      const names = runtimes.map(({ name }) => name).join(', ') || 'none';
      return step(
        'node',
        `${node}: ${cores(capacity.cpuMillis)} cores, ${bytes(capacity.memoryBytes)}, runtimes ${names}`,
      );
    }
    case 'NodeLost':
      return step('lost', `node ${event.data.node}: ${event.data.reason}`, red);
    case 'InstancePlaced':
      return step('placed', `${event.data.instance} ${dim(`on ${event.data.node}`)}`);
    case 'InstanceUnplaceable': {
      const reasons = event.data.reasons.map(({ message }) => message).join('; ');
      return step('no place', `${event.data.instance}: ${reasons}`, red);
    }
    case 'GuestStarted': {
      const { instance, address, runtime, attempt } = event.data;
      const where = [runtime, address && `at ${address.host}`, attempt > 1 && `run ${attempt}`]
        .filter(Boolean)
        .join(', ');
      return step('started', `${instance} ${dim(where)}`);
    }
    case 'GuestHealthy':
      return event.data.probe === 'readiness' ? step('ready', event.data.instance, green) : undefined;
    case 'GuestUnhealthy':
      return step('unwell', `${event.data.instance}: ${unwell(event.data)}`, yellow);
    case 'GuestExited': {
      const { instance, reason, exitCode, signal } = event.data;
      const how = [reason, exitCode !== null && `code ${exitCode}`, signal].filter(Boolean).join(', ');
      return step('exited', `${instance} ${dim(how)}`, reason === 'stopped' ? dim : yellow);
    }
    case 'GuestContainerExited': {
      const { instance, container, reason, exitCode, signal, restarts } = event.data;
      const how = [reason, exitCode !== null && `code ${exitCode}`, signal, restarts > 0 && `restarts ${restarts}`];
      return step('exited', `${instance}, ${container} ${dim(how.filter(Boolean).join(', '))}`, yellow);
    }
    case 'GuestFailed':
      return step('failed', `${event.data.instance}: cannot ${event.data.stage}: ${event.data.reason}`, red);
    case 'GuestRemoved':
      return step('removed', event.data.instance);
    case 'PluginFailed':
      return step('failed', `plugin ${event.data.plugin} (${event.data.slot}): ${event.data.reason}`, red);
    case 'SwapCompleted':
      return step('swapped', `${event.data.slot}: ${event.data.from} → ${event.data.to}`, green);
    case 'SwapAborted':
      return step(
        'kept',
        `${event.data.slot}: ${event.data.from}; ${event.data.to} failed: ${event.data.reason}`,
        yellow,
      );
    default:
      return undefined;
  }
}

function unwell({ code, reason, remedy, probe }: EventData<'GuestUnhealthy'>): string {
  if (code === undefined) return `${probe} probe: ${reason}`;
  return remedy === undefined ? reason : `${reason}; ${remedy}`;
}

/** Prints steps as their events arrive. */
export class LiveProgress {
  readonly #stop: () => void;
  #position: number;
  #waiting: { position: number; resolve: () => void } | undefined;

  constructor(client: CloudosClient, from: number, terminal: Terminal) {
    this.#position = from - 1;
    const subscription = client.events({ from }).subscribe({
      next: (event) => {
        const line = progressLine(event, terminal.colors);
        if (line !== undefined) terminal.line(line);
        this.#position = event.position;
        if (this.#waiting && this.#position >= this.#waiting.position) this.#waiting.resolve();
      },
      // The kernel has gone: its end is told by other means.
      error: () => this.#waiting?.resolve(),
    });
    this.#stop = () => subscription.unsubscribe();
  }

  /** Resolves when everything up to that position is printed, at the latest after two seconds. */
  async printed(position: number): Promise<void> {
    if (this.#position >= position) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#waiting = { position, resolve };
      timer = setTimeout(resolve, 2_000);
    });
    clearTimeout(timer);
    this.#waiting = undefined;
  }

  stop(): void {
    this.#stop();
  }
}
