import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BatchDecoder, subprotocols } from '@cloudos/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { until } from './support/kernel-process.ts';

const mebi = 1024 * 1024;
/** What one subscriber may cost: `socketBufferMaxBytes`, and one chunk that was begun when it was nearly full. */
const eachMaxBytes = mebi + mebi / 4;
/** What else grows in a process that has appended as much: of the log, of the engine. */
const slackBytes = 24 * mebi;
const ofEach = 2;
/** 40 MiB, more than the log keeps at hand. Whoever were sent all of it would hold thirty times the bound. */
const flowEvents = 10_240;

interface Usage {
  readonly bytes: number;
  readonly waitingBytes: number;
}

/** Counts the events that it gets: each has to follow the one before. */
class Party {
  next: number | undefined;
  count = 0;
  wrong = '';
  pause: () => void = () => {};
  resume: () => void = () => {};
  end: () => void = () => {};

  take(position: number): void {
    if (this.next !== undefined && position !== this.next && this.wrong === '') {
      this.wrong = `${position} after ${this.next - 1}`;
    }
    this.next = position + 1;
    this.count++;
  }
}

function overWebSocket(url: string, token: string, protocol: string, query: string): Promise<Party> {
  const party = new Party();
  const decoder = new BatchDecoder();
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/events?from=now&markers=false${query}`, [protocol], {
    headers: { authorization: `Bearer ${token}` },
    perMessageDeflate: false,
  });
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) for (const { position } of decoder.decode(data).events) party.take(position);
    else party.take(Number(/"position":(\d+)/.exec(data.toString('utf8', 0, 600))?.[1]));
  });
  party.pause = () => socket.pause();
  party.resume = () => socket.resume();
  party.end = () => socket.terminate();
  return new Promise((resolve, reject) => socket.once('open', () => resolve(party)).once('error', reject));
}

function overHttp(url: string, token: string, format: string): Promise<Party> {
  const party = new Party();
  return new Promise((resolve, reject) => {
    const request = get(
      `${url}/v1/events?from=now&markers=false&format=${format}`,
      { headers: { authorization: `Bearer ${token}` } },
      (response: IncomingMessage) => {
        let rest = '';
        response.setEncoding('latin1').on('data', (text: string) => {
          const lines = (rest + text).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) {
            const position = /^(?:data: )?\{"specversion.{0,400}?"position":(\d+)/.exec(line)?.[1];
            if (position !== undefined) party.take(Number(position));
          }
        });
        response.on('error', () => {});
        party.pause = () => response.pause();
        party.resume = () => response.resume();
        resolve(party);
      },
    );
    party.end = () => request.destroy();
    request.on('error', reject);
  });
}

describe('subscribers that stop reading', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cloudos-slow-'));
  const parties: Party[] = [];
  let server: ChildProcess;
  let at: { url: string; token: string };

  const ask = async <Answer>(what: object): Promise<Answer> => {
    const answer = once(server, 'message');
    server.send(what);
    return (await answer)[0] as Answer;
  };
  const connect = (count: number): Promise<Party[]> =>
    Promise.all(
      Array.from({ length: count }, () => [
        overWebSocket(at.url, at.token, subprotocols.standard, ''),
        overWebSocket(at.url, at.token, subprotocols.standard, '&types=x-flow-*'),
        overWebSocket(at.url, at.token, subprotocols.compact, ''),
        overHttp(at.url, at.token, 'ndjson'),
        overHttp(at.url, at.token, 'sse'),
      ]).flat(),
    );

  beforeAll(async () => {
    const program = fileURLToPath(new URL('./fixtures/flow-server.mjs', import.meta.url));
    server = fork(program, [directory], { execArgv: ['--expose-gc'] });
    [at] = (await once(server, 'message')) as [typeof at];
  }, 300_000);
  afterAll(async () => {
    for (const party of parties) party.end();
    if (server.exitCode === null) {
      const ended = once(server, 'exit');
      server.kill('SIGKILL');
      await ended;
    }
    await rm(directory, { recursive: true, force: true });
  });

  it('cost the server no more than the bound each, and get everything when they go on', {
    timeout: 400_000,
  }, async () => {
    // One of each kind that reads: what subscribers share, and what the log keeps at hand, is there before.
    const readers = await connect(1);
    parties.push(...readers);
    const slow: Party[] = [];
    await ask({ flow: flowEvents });
    const counted = () => [...readers, ...slow].map(({ count, wrong }) => wrong || count).join(' ');
    await until(() => readers.every(({ count }) => count === flowEvents), 120_000, counted);
    const before = await ask<Usage>({ usage: true });

    slow.push(...(await connect(ofEach)));
    parties.push(...slow);
    for (const party of slow) party.pause();
    await ask({ flow: flowEvents });
    await until(() => readers.every(({ count }) => count === 2 * flowEvents), 120_000, counted);
    const during = await ask<Usage>({ usage: true });
    const grown = during.bytes - before.bytes;
    console.log(
      `${slow.length} that take nothing of ${flowEvents / 256} MiB: ${(grown / mebi).toFixed(1)} MiB more, ${(during.waitingBytes / mebi).toFixed(1)} MiB wait`,
    );
    expect(during.waitingBytes).toBeGreaterThan(0);
    expect(during.waitingBytes).toBeLessThanOrEqual(slow.length * eachMaxBytes);
    expect(grown).toBeLessThanOrEqual(slow.length * eachMaxBytes + slackBytes);

    for (const party of slow) party.resume();
    await until(() => slow.every(({ count, wrong }) => count === flowEvents || wrong !== ''), 120_000, counted);
    expect([...readers, ...slow].map(({ wrong }) => wrong).join('')).toBe('');
  });
});
