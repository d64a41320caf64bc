import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Logger, messageOf } from '@cloudos/sdk';
import { z } from 'zod';

const book = z.object({ version: z.literal(1), ports: z.record(z.string(), z.int().min(1).max(65_535)) });

/** The most ports that are remembered; the ones not used for longest are forgotten. */
export const rememberedMax = 1_000;

/**
 * Remembers on which port each service port listens, so that it is the same after a restart.
 * A hint: a damaged or unwritable file costs the stability of ports and nothing else.
 */
export class PortBook {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #ports: Map<string, number>;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
    this.#ports = new Map(Object.entries(this.#load()));
  }

  get(key: string): number | undefined {
    return this.#ports.get(key);
  }

  set(key: string, port: number): void {
    if (this.#ports.get(key) === port) return;
    this.#ports.delete(key);
    this.#ports.set(key, port);
    for (const oldest of this.#ports.keys()) {
      if (this.#ports.size <= rememberedMax) break;
      this.#ports.delete(oldest);
    }
    this.#save();
  }

  #load(): Record<string, number> {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch {
      return {};
    }
    try {
      return book.parse(JSON.parse(text)).ports;
    } catch (error) {
      this.#logger.warn(`${this.#path} is damaged: services may get other ports`, { reason: messageOf(error) });
      return {};
    }
  }

  #save(): void {
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
      const temporary = `${this.#path}.new`;
      writeFileSync(temporary, JSON.stringify({ version: 1, ports: Object.fromEntries(this.#ports) }));
      renameSync(temporary, this.#path);
    } catch (error) {
      this.#logger.warn(`${this.#path} cannot be written: services may get other ports after a restart`, {
        reason: messageOf(error),
      });
    }
  }
}
