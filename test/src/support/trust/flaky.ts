import type { SeededRandom } from '@cloudos/testing';
import { WebSocket } from 'ws';

/** What happens to a connection: it breaks now and then, and now and then its client takes nothing for a while. */
export function disturb(
  random: SeededRandom,
  connection: { pause(): void; resume(): void },
  breakIt: () => void,
): void {
  if (random.chance(0.3)) setTimeout(breakIt, random.int(3_000)).unref();
  if (!random.chance(0.3)) return;
  setTimeout(() => connection.pause(), random.int(500)).unref();
  setTimeout(() => connection.resume(), 500 + random.int(2_500)).unref();
}

/** A class of WebSockets that are disturbed. */
export function flakyWebSocket(random: SeededRandom): new (url: string, protocols: string[]) => WebSocket {
  return class Flaky extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols, { perMessageDeflate: true });
      this.on('error', () => {});
      this.once('open', () => disturb(random, this, () => this.terminate()));
    }
  };
}
