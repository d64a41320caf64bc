import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CloudosClient, type WebSocketConstructor } from '@cloudos/client';
import { type RawData, WebSocket } from 'ws';
import { type Gateway, type GatewayOptions, startGateway } from './gateway.ts';
import { FakeKernel } from './testing/index.ts';

/** A gateway over a fake kernel, in a directory of its own, for specs. */
export interface Bench {
  readonly kernel: FakeKernel;
  readonly gateway: Gateway;
  readonly stateDir: string;
  readonly client: CloudosClient;
  /** A request with the token. */
  get(path: string, init?: RequestInit): Promise<Response>;
  post(path: string, body: unknown): Promise<Response>;
  socketUrl(path: string): string;
  /** A WebSocket with the token. */
  listen(path: string, options?: ListenerOptions, protocols?: string[]): Listener;
  /** A raw connection after a proper handshake with the token. */
  raw(path: string): Promise<RawConnection>;
  close(): Promise<void>;
}

export async function openBench(options: Partial<GatewayOptions> = {}): Promise<Bench> {
  const stateDir = await mkdtemp(join(tmpdir(), 'cloudos-gateway-'));
  const kernel = new FakeKernel(stateDir);
  const gateway = await startGateway({ kernel, stateDir, ...options });
  const authorization = `Bearer ${gateway.token}`;
  const get: Bench['get'] = (path, init = {}) =>
    fetch(`${gateway.url}${path}`, { ...init, headers: { authorization, ...init.headers } });
  return {
    kernel,
    gateway,
    stateDir,
    client: new CloudosClient({
      url: gateway.url,
      token: gateway.token,
      webSocket: WebSocket as unknown as WebSocketConstructor,
    }),
    get,
    post: (path, body) =>
      get(path, {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      }),
    socketUrl: (path) => `${gateway.url.replace('http', 'ws')}${path}`,
    listen: (path, options = {}, protocols = []) => {
      const headers = { authorization, ...options.headers };
      return new Listener(`${gateway.url.replace('http', 'ws')}${path}`, { ...options, headers }, protocols);
    },
    raw: (path) => new RawConnection(gateway.port).handshake(path, { authorization }),
    close: async () => {
      await gateway.close();
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

/** Polls until the condition holds. */
export async function until(what: string, condition: () => boolean, deadlineMs = 100_000): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface ListenerOptions {
  readonly origin?: string;
  readonly headers?: Record<string, string>;
  readonly autoPong?: boolean;
  readonly perMessageDeflate?: boolean;
  readonly ca?: string;
}

/** A WebSocket that keeps what it received. */
export class Listener {
  readonly socket: WebSocket;
  readonly messages: string[] = [];
  /** The binary ones. */
  readonly binary: Buffer[] = [];
  closed: { code: number; reason: string } | undefined;
  refused: { status: number; headers: Record<string, unknown>; body: string } | undefined;
  /** Whether the handshake succeeded, also when it is closed by now. */
  wasOpen = false;

  constructor(url: string, options: ListenerOptions = {}, protocols: string[] = []) {
    this.socket = new WebSocket(url, protocols, options);
    this.socket.on('message', (data: RawData, isBinary) => {
      if (isBinary) this.binary.push(data as Buffer);
      this.messages.push(data.toString());
    });
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on('open', () => {
      this.wasOpen = true;
    });
    this.socket.on('error', () => {});
    this.socket.on('unexpected-response', (_request, response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString();
      });
      response.on('end', () => {
        this.refused = { status: response.statusCode ?? 0, headers: response.headers, body };
      });
    });
  }

  async opened(): Promise<this> {
    await until('the WebSocket opens', () => this.socket.readyState === WebSocket.OPEN);
    return this;
  }

  positions(): number[] {
    return this.messages.map((message) => (JSON.parse(message) as { position: number }).position);
  }
}

/** A TCP connection on which a test writes what no proper client would. */
export class RawConnection {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  ended = false;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (data) => {
      this.received = Buffer.concat([this.received, data]);
    });
    this.socket.on('close', () => {
      this.ended = true;
    });
    this.socket.on('error', () => {});
  }

  /** Sends a proper handshake for that path and waits for the switch. */
  async handshake(path: string, headers: Readonly<Record<string, string>> = {}): Promise<this> {
    this.socket.write(
      [
        `GET ${path} HTTP/1.1`,
        'Host: 127.0.0.1',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
        '\r\n',
      ].join('\r\n'),
    );
    await until('the handshake is answered', () => this.received.includes('\r\n\r\n'));
    if (!this.received.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(this.received.toString());
    this.received = this.received.subarray(this.received.indexOf('\r\n\r\n') + 4);
    return this;
  }

  /** The code of the close frame, if that is what came last. */
  closeCode(): number | undefined {
    const at = this.received.indexOf(0x88);
    return at < 0 || this.received.length < at + 4 ? undefined : this.received.readUInt16BE(at + 2);
  }
}
