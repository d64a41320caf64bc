import { filter, firstValueFrom, ignoreElements, lastValueFrom, scan } from 'rxjs';
import { describe, expect } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { within } from './guest-bounds.ts';
import { expectCode, testWhen } from './guest-harness.ts';

const unsupported = ['GUEST_UNSUPPORTED'];
/** Of a variable: the kernel takes 128 KiB (execve(2)). */
const largeBytes = 100 * 1024;
const commandsAtOnce = 12;

/** Logs, exec, stats, pause, network: what one does with a running guest. */
export function interactionTests(suite: GuestSuite): void {
  contextTests(suite);
  logTests(suite);
  execTests(suite);
  const { harness, programs, supports } = suite;

  describe('stats', () => {
    testWhen(supports.stats)('say what a running guest uses', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      const stats = await harness().driver.stats(instance);
      expect(stats.pids ?? 1).toBeGreaterThan(0);
      expect(stats.memoryBytes ?? 1).toBeGreaterThan(0);
      expect(stats.cpuNanos ?? 0).toBeGreaterThanOrEqual(0);
      expect(Object.keys(stats).length).toBeGreaterThan(0);
    });
    testWhen(!supports.stats)('are refused', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      await expectCode(harness().driver.stats(instance), ...unsupported);
    });
  });

  describe('pause and resume', () => {
    testWhen(supports.pause)('a paused guest stands still and goes on', async (context) => {
      const { driver } = harness();
      context.skip(!(await harness().offers('pause')), 'the fingerprint says that this node cannot pause guests');
      const { instance, pid } = await harness().run(programs.sleepForever());
      await driver.pause?.(instance);
      expect(await harness().find(instance)).toMatchObject({ state: 'paused' });
      if (supports.stats) expect((await driver.stats(instance)).memoryBytes ?? 1).toBeGreaterThan(0);
      if (supports.exec)
        await expectCode(driver.exec(instance, { command: suite.commands.exitWith(0) }), 'GUEST_STATE');
      await driver.resume?.(instance);
      expect(await harness().find(instance)).toMatchObject({ state: 'running', pid });
      await driver.pause?.(instance);
      expect(await driver.stop(instance, 2_000)).toMatchObject({ reason: 'stopped' });
    });
    testWhen(!supports.pause)('are absent', () => {
      expect(harness().driver.pause).toBeUndefined();
      expect(harness().driver.resume).toBeUndefined();
    });
  });

  testWhen(supports.network)('a guest answers at its address', async () => {
    const bodies = ['one', 'two'];
    const guests = await Promise.all(
      bodies.map((body) => harness().run(programs.httpServer(80, body), { ports: [{ port: 80, protocol: 'tcp' }] })),
    );
    for (const [index, guest] of guests.entries()) {
      const { host, ports } = guest.address ?? {};
      expect(host).toBeDefined();
      const url = `http://${host}:${ports?.['80'] ?? 80}/`;
      const text = await harness().until(`an answer from ${url}`, () => answerOf(url));
      expect(text).toBe(bodies[index]);
    }
  });
  testWhen(supports.guestNetwork && supports.exec)('a guest reaches another one at its address', async (context) => {
    context.skip(!(await harness().offers('guestNetwork')), 'the fingerprint says that guests reach nobody here');
    const server = await harness().run(programs.httpServer(80, 'from a guest'), {
      ports: [{ port: 80, protocol: 'tcp' }],
    });
    const { instance } = await harness().run(programs.sleepForever());
    const url = `http://${server.address?.host}/`;
    const text = await harness().until(`an answer from ${url} to ${instance}`, async () => {
      const { code, stdout } = await harness().exec(instance, { command: suite.commands.fetch(url) });
      return code === 0 && stdout;
    });
    expect(text).toBe('from a guest');
  });
}

async function answerOf(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    return await response.text();
  } catch {
    return undefined;
  }
}

function contextTests({ harness, programs, supports }: GuestSuite): void {
  testWhen(supports.logs)('a program gets its environment and its working directory', async () => {
    const value = `it's "quoted" $HOME \\ and\u00e9 = \u{1d11e}`;
    // Where guests are programs of a system.
    const large = supports.exec ? [{ name: 'LARGE', value: 'x'.repeat(largeBytes) }] : [];
    const { instance } = await harness().run(programs.printContext('GREETING'), {
      env: [{ name: 'GREETING', value }, ...large],
      workingDir: '/usr/bin',
    });
    expect((await harness().said(instance)).stdout).toBe(`${value}\n/usr/bin\n`);
  });
}

function logTests({ harness, programs, supports }: GuestSuite): void {
  describe('logs', () => {
    const lines = ['one', 'two', 'three', 'four'];
    testWhen(supports.logs)('hold what was written, by stream, also after the exit', async () => {
      const { instance } = await harness().run(programs.printLines(lines, false));
      await harness().exitOf(instance);
      await harness().printed(instance, 'four\n');
      await harness().until('stderr', async () => (await harness().output(instance)).stderr === 'oops\n');
      expect((await harness().output(instance)).stdout).toBe('one\ntwo\nthree\nfour\n');
    });
    testWhen(supports.logs)('end with the last lines, where only those are wanted', async () => {
      const { instance } = await harness().run(programs.printLines(lines, true));
      await harness().printed(instance, 'four\n');
      expect((await harness().output(instance, 2)).stdout).toBe('three\nfour\n');
      expect((await harness().output(instance, 0)).stdout).toBe('');
      expect((await harness().output(instance, 100)).stdout).toBe('one\ntwo\nthree\nfour\n');
    });
    testWhen(supports.logs)('are followed until the guest ends', async () => {
      const { instance } = await harness().run(programs.printSlowly());
      let text = '';
      for await (const chunk of harness().driver.logs(instance, { follow: true })) {
        text += Buffer.from(chunk.data).toString();
      }
      expect(text).toBe('first\nlast\n');
    });
    testWhen(supports.logs)('are followed until the reader has had enough', async () => {
      const { instance } = await harness().run(programs.printLines(lines, true));
      const enough = new AbortController();
      let text = '';
      for await (const chunk of harness().driver.logs(instance, { follow: true, signal: enough.signal })) {
        if (chunk.stream === 'stdout') text += Buffer.from(chunk.data).toString();
        if (text.includes('four\n')) enough.abort();
      }
      expect(text).toContain('one\ntwo\nthree\nfour\n');
      expect(await harness().find(instance)).toMatchObject({ state: 'running' });
    });
    testWhen(supports.logs && supports.logsSince)('begin at the time asked for', async (context) => {
      context.skip(!(await harness().offers('logsSince')), 'the fingerprint says that logs have no times here');
      // On a busy machine two lines that are written soon after each other may be read at once.
      let isDivided = false;
      for (let pauseMs = 300; !isDivided && pauseMs < harness().deadlineMs / 2; pauseMs *= 10) {
        const begun = Date.now();
        const { instance } = await harness().run(programs.printSlowly(pauseMs));
        await harness().exitOf(instance);
        await harness().printed(instance, 'last\n');
        const since = async (time: number) => (await harness().output(instance, { since: time })).stdout;
        expect(await since(0)).toBe('first\nlast\n');
        expect(await since(Date.now() + 60_000)).toBe('');
        for (let [early, late] = [begun, Date.now()]; early < late && !isDivided; ) {
          const time = Math.floor((early + late) / 2);
          const stdout = await since(time);
          if (stdout === 'first\nlast\n') early = time + 1;
          else if (stdout === '') late = time;
          else {
            expect(stdout).toBe('last\n');
            isDivided = true;
          }
        }
        await harness().driver.remove(instance);
      }
      expect(isDivided, 'a time lies between the lines').toBe(true);
    });
    testWhen(supports.logs && !supports.logsSince)('from a time on are refused', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      await expectCode(harness().output(instance, { since: 0 }), ...unsupported);
    });
    testWhen(!supports.logs)('are refused', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      await expectCode(harness().output(instance), ...unsupported);
    });
  });
}

function execTests({ harness, programs, commands, supports }: GuestSuite): void {
  describe('exec', () => {
    testWhen(supports.exec)('tells the exit code and keeps the streams apart', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      expect(await harness().exec(instance, { command: commands.exitWith(3) })).toMatchObject({ code: 3 });
      const both = await harness().exec(instance, { command: commands.printBoth() });
      expect(both).toEqual({ code: 0, stdout: 'out\n', stderr: 'err\n' });
    });
    testWhen(supports.exec)('runs many commands at once', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      const codes = Array.from({ length: commandsAtOnce }, (_, index) => index);
      const ends = await Promise.all(
        codes.map((code) => harness().exec(instance, { command: commands.exitWith(code) })),
      );
      expect(ends.map(({ code }) => code)).toEqual(codes);
    });
    testWhen(supports.exec)('passes input and environment', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      const copied = await harness().exec(instance, { command: commands.copyInput() }, 'to and fro\n');
      expect(copied).toMatchObject({ code: 0, stdout: 'to and fro\n' });
      const printed = await harness().exec(instance, {
        command: commands.printVariable('COLOUR'),
        env: { COLOUR: 'dark green' },
      });
      expect(printed.stdout).toBe('dark green');
      const large = 'x'.repeat(largeBytes);
      const again = await harness().exec(instance, { command: commands.printVariable('LARGE'), env: { LARGE: large } });
      expect(again.stdout === large, `${again.stdout.length} of ${largeBytes}`).toBe(true);
    });
    testWhen(supports.exec)('can be killed', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      const session = await harness().driver.exec(instance, { command: commands.copyInput() });
      session.kill();
      expect(await session.exitCode).not.toBe(0);
      expect(await harness().find(instance)).toMatchObject({ state: 'running' });
    });
    testWhen(supports.exec)('can be killed while what it has started holds its output', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      const session = await harness().driver.exec(instance, { command: commands.holdOutput() });
      const said = session.output.pipe(scan((text, { data }) => text + Buffer.from(data).toString(), ''));
      const ready = firstValueFrom(said.pipe(filter((text) => text.includes('ready'))));
      await within(harness().deadlineMs, 'the command to have begun', ready);
      session.kill();
      expect(await session.exitCode).not.toBe(0);
      const over = lastValueFrom(session.output.pipe(ignoreElements()), { defaultValue: undefined });
      await within(harness().deadlineMs, 'the end of its output', over);
      expect(await harness().find(instance)).toMatchObject({ state: 'running' });
    });
    testWhen(supports.exec)('needs a running guest', async () => {
      const spec = harness().spec(programs.sleepForever());
      await harness().driver.create(spec);
      await expectCode(harness().driver.exec(spec.instance, { command: commands.exitWith(0) }), 'GUEST_STATE');
    });
    testWhen(supports.tty)('gives a terminal of the size asked for', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      const tty = { columns: 91, rows: 33 };
      const session = await harness().driver.exec(instance, { command: commands.printTerminalSize(), tty });
      let said = '';
      session.output.subscribe(({ data }) => {
        said += Buffer.from(data).toString();
      });
      await harness().until('the size of the terminal', () => said.includes('\n'));
      expect(said).toContain('33 91');
      session.kill();
      await session.exitCode;
    });
    testWhen(!(supports.tty || !supports.exec))('refuses a terminal', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      const request = { command: commands.exitWith(0), tty: { columns: 80, rows: 24 } };
      await expectCode(harness().driver.exec(instance, request), ...unsupported);
    });
    testWhen(!supports.exec)('is refused', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      await expectCode(harness().driver.exec(instance, { command: ['true'] }), ...unsupported);
    });
  });
}
