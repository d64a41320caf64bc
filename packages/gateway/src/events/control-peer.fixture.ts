import type { ControlResponse } from '@cloudos/client';
import { type Listener, until } from '../spec-kit.ts';

/** A listener that speaks the control channel. */
export class ControlPeer {
  readonly #listener: Listener;
  #id = 0;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  get parsed(): Record<string, unknown>[] {
    return this.#listener.messages.map((text) => JSON.parse(text) as Record<string, unknown>);
  }

  get events(): number[] {
    return this.parsed.filter(({ position }) => position !== undefined).map(({ position }) => position as number);
  }

  control(name: string): Record<string, unknown>[] {
    return this.parsed.filter(({ type }) => type === `io.cloudos.control.${name}`);
  }

  async call(method: string, params?: unknown): Promise<ControlResponse> {
    const id = ++this.#id;
    this.#listener.socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    return this.answer(id);
  }

  async answer(id: number): Promise<ControlResponse> {
    const found = () => this.parsed.flat().find((message) => message.id === id && message.jsonrpc === '2.0');
    await until(`request ${id} is answered`, () => found() !== undefined);
    return found() as unknown as ControlResponse;
  }
}
