import type { CommandResult, EventLog, RecordedEvent } from '@cloudos/sdk';

/** Commands whose results are remembered, so that sending one again does nothing twice. */
export const recentCommandsMax = 4_096;
/** After a restart, those among that many last events of the stream. */
export const recentEventsMax = 65_536;

/** The last commands of a policy and what became of them; rebuilt from its stream after a restart. */
export class RecentCommands {
  readonly #results = new Map<string, CommandResult>();

  get(id: string): CommandResult | undefined {
    return this.#results.get(id);
  }

  add(id: string, result: CommandResult): void {
    this.#results.set(id, result);
    if (this.#results.size <= recentCommandsMax) return;
    for (const oldest of this.#results.keys()) {
      this.#results.delete(oldest);
      break;
    }
  }

  /** Reads the end of the stream. */
  async load(log: Pick<EventLog, 'read'>, stream: string): Promise<void> {
    const events: RecordedEvent[] = [];
    const commands = new Set<string>();
    for await (const batch of log.read({ stream, direction: 'backwards', limit: recentEventsMax })) {
      for (const event of batch) {
        if (event.meta.correlation === undefined) continue;
        commands.add(event.meta.correlation);
        events.push(event);
      }
      if (commands.size >= recentCommandsMax) break;
    }
    for (const { position, type, data, meta } of events.reverse()) {
      if (meta.correlation === undefined) continue;
      const known = this.#results.get(meta.correlation);
      this.add(meta.correlation, {
        positions: { first: known?.positions?.first ?? position, last: position },
        events: [...(known?.events ?? []), { type, data }],
        warnings: [],
        correlation: meta.correlation,
      });
    }
  }
}
