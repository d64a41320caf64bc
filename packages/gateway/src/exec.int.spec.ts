import { CloudosClient, decodeExecFrame, encodeExecFrame, type WebSocketConstructor } from '@cloudos/client';
import type { ExecSession } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Bench, openBench, until } from './spec-kit.ts';

describe('commands in a guest', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench({ bounds: { execBufferMaxBytes: 4 * 1024 * 1024 } });
    bench.kernel.output.set('web-1', []);
  });
  afterEach(() => bench.close());

  function collect(session: ExecSession): { stdout: string; stderr: string } {
    const output = { stdout: '', stderr: '' };
    session.output.subscribe(({ stream, data }) => {
      output[stream] += Buffer.from(data).toString();
    });
    return output;
  }

  it('carries output on its channels and the exit code', async () => {
    const session = await bench.client.exec('web-1', { command: ['echo', 'hello', 'wörld'] });
    const output = collect(session);
    expect(await session.exitCode).toBe(0);
    expect(output).toEqual({ stdout: 'hello wörld\n', stderr: 'done\n' });
    const failing = await bench.client.exec('web-1', { command: ['exit', '42'] });
    expect(await failing.exitCode).toBe(42);
    await until('all sockets are closed', () => bench.gateway.connections().execs === 0);
  });

  it('passes environment, directory and terminal on', async () => {
    const session = await bench.client.exec('web-1', {
      command: ['env'],
      env: { A: '1', B: 'x=y' },
      workingDir: '/tmp',
      tty: { columns: 100, rows: 30 },
    });
    const output = collect(session);
    await session.exitCode;
    expect(JSON.parse(output.stdout)).toEqual({
      env: { A: '1', B: 'x=y' },
      workingDir: '/tmp',
      tty: { columns: 100, rows: 30 },
    });
  });

  it('carries input and its end, and changes of the terminal size', async () => {
    const session = await bench.client.exec('web-1', { command: ['cat'] });
    const output = collect(session);
    const text = 'line\n'.repeat(50_000);
    await session.write(Buffer.from(text));
    session.resize(120, 40);
    await until('the size has come', () => output.stdout.includes('120x40'));
    session.end();
    expect(await session.exitCode).toBe(0);
    expect(output.stdout.replace('120x40\n', '')).toBe(text);
  });

  it('says why a command could not be started', async () => {
    await expect(bench.client.exec('nope', { command: ['echo'] })).rejects.toMatchObject({
      code: 'INSTANCE_NOT_FOUND',
    });
    await expect(bench.client.exec('web-1', { command: ['missing'] })).rejects.toMatchObject({
      code: 'COMMAND_NOT_FOUND',
    });
    await expect(bench.client.exec('web-1', { command: [] })).rejects.toMatchObject({
      code: 'REQUEST_MALFORMED',
      message: expect.stringContaining('command'),
    });
    const noSize = bench.client.exec('web-1', { command: ['env'], tty: { columns: 0, rows: 0 } });
    await expect(noSize).rejects.toMatchObject({ code: 'REQUEST_MALFORMED' });
    const options = { url: bench.gateway.url, token: 'wrong', webSocket: WebSocket as unknown as WebSocketConstructor };
    const stranger = new CloudosClient(options).exec('web-1', { command: ['env'] });
    await expect(stranger).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('ends the command when the client leaves', async () => {
    const session = await bench.client.exec('web-1', { command: ['cat'] });
    session.kill();
    await until('the command has ended', () => bench.kernel.execs[0]?.killed === true);
    await expect(session.exitCode).rejects.toMatchObject({ code: 'KERNEL_UNREACHABLE' });
    const raw = await bench.raw('/v1/instances/web-1/exec?command=cat');
    raw.socket.resetAndDestroy();
    await until('the command has ended', () => bench.kernel.execs[1]?.killed === true);
  });

  it('ends a command whose output nobody reads, within the bound', async () => {
    const raw = await bench.raw('/v1/instances/web-1/exec?command=flood');
    raw.socket.pause();
    await until('the command has ended', () => bench.kernel.execs[0]?.killed === true);
    raw.socket.destroy();
    await until('its socket is gone', () => bench.gateway.connections().execs === 0);
  });

  it.each([
    ['text', 'hello', 1003],
    ['a channel of the server', encodeExecFrame(3, Buffer.from('{}')), 1008],
    ['an empty frame', Buffer.alloc(0), 1008],
    ['a broken size', encodeExecFrame(4, Buffer.from('{"columns": "wide"}')), 1008],
  ])('answers %s with a close code and ends the command', async (_name, frame, code) => {
    const listener = await bench.listen('/v1/instances/web-1/exec?command=cat').opened();
    await until('the command has started', () => listener.messages.length > 0);
    expect(decodeExecFrame(Buffer.from(listener.messages[0] ?? ''))).toMatchObject({ channel: 3 });
    listener.socket.send(frame);
    await until('the socket is closed', () => listener.closed !== undefined);
    expect(listener.closed?.code).toBe(code);
    await until('the command has ended', () => bench.kernel.execs[0]?.killed === true);
    expect((await bench.get('/v1/status')).status).toBe(200);
  });
});
