import { connect, type Socket } from 'node:net';

/** How long a peer waits for what it expects. Generous: the machine may be busy. */
const waitMs = 90_000;

/** A TCP connection on which a test writes what no proper client would. */
export class RawPeer {
  readonly socket: Socket;
  received: Buffer = Buffer.alloc(0);
  closed = false;
  #wake: () => void = () => {};

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('data', (data: Buffer) => {
      // The beginning of what comes is all that is looked at.
      if (this.received.length < 64 * 1024) this.received = Buffer.concat([this.received, data]);
      this.#wake();
    });
    this.socket.on('error', () => {});
    this.socket.on('end', () => this.socket.end());
    this.socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  write(data: string | Uint8Array): void {
    if (!this.closed) this.socket.write(data);
  }

  /** Resolves when the condition holds, or when the connection is closed. */
  async until(what: string, condition: () => boolean): Promise<void> {
    const deadline = Date.now() + waitMs;
    while (!condition() && !this.closed) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`not in ${waitMs} ms: ${what}; received ${this.received.toString('latin1')}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 250));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  ended(): Promise<void> {
    return this.until('the server closes the connection', () => this.closed);
  }

  /** A proper handshake; returns the status of the answer. */
  async upgrade(target: string, token: string, headers: readonly string[] = []): Promise<number> {
    this.write(
      [
        `GET ${target} HTTP/1.1`,
        'Host: 127.0.0.1',
        `Authorization: Bearer ${token}`,
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ...headers,
        '\r\n',
      ].join('\r\n'),
    );
    await this.until('the handshake is answered', () => this.received.includes('\r\n\r\n'));
    const status = Number(/^HTTP\/1\.1 (\d+)/.exec(this.received.toString('latin1'))?.[1] ?? 0);
    this.received = this.received.subarray(this.received.indexOf('\r\n\r\n') + 4);
    return status;
  }

  /** The code of the first close frame among what was received; frames of a server are not masked. */
  closeCode(): number | undefined {
    for (let at = 0; at + 2 <= this.received.length; ) {
      const short = (this.received[at + 1] ?? 0) & 0x7f;
      const head = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (at + head > this.received.length) return undefined;
      const length =
        short === 126
          ? this.received.readUInt16BE(at + 2)
          : short === 127
            ? Number(this.received.readBigUInt64BE(at + 2))
            : short;
      if (((this.received[at] ?? 0) & 0x0f) === 8) {
        return at + head + 2 <= this.received.length ? this.received.readUInt16BE(at + head) : undefined;
      }
      at += head + length;
    }
    return undefined;
  }
}

/** A client frame with a mask of zeros, which leaves the payload as it is. */
export function frame(firstByte: number, payload: Uint8Array, declaredLength = payload.length): Buffer {
  const head = Buffer.alloc(declaredLength < 126 ? 2 : declaredLength < 65_536 ? 4 : 10);
  head[0] = firstByte;
  if (declaredLength < 126) head[1] = 0x80 | declaredLength;
  else if (declaredLength < 65_536) {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(declaredLength, 2);
  } else {
    head[1] = 0x80 | 127;
    head.writeBigUInt64BE(BigInt(declaredLength), 2);
  }
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}
