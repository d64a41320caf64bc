import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudosError, type CommandResult } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliBench, clusterView, instanceView, workloadView } from './spec-kit.ts';

const decided = (...events: CommandResult['events'][number][]): CommandResult => ({
  events,
  warnings: [],
  correlation: 'c',
});

const manifest = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
`;

describe('commands to a running kernel', () => {
  let bench: CliBench;
  beforeEach(async () => {
    bench = await CliBench.open({ running: true });
    const view = clusterView({
      workloads: [workloadView('default/web', 2)],
      instances: [instanceView('web-1', 'default/web'), instanceView('web-2', 'default/web', { state: 'pending' })],
    });
    bench.kernel.onView = () => view;
    bench.kernel.output.set('web-1', [
      { stream: 'stdout', data: Buffer.from('one\ntwo\n') },
      { stream: 'stderr', data: Buffer.from('oops\n') },
    ]);
    bench.kernel.output.set('web-2', [{ stream: 'stdout', data: Buffer.from('three') }]);
  });
  afterEach(() => bench.close());

  it('lists in aligned columns, wide, and for programs', async () => {
    const { out, exitCode } = await bench.run(['get', 'instances']);
    expect(exitCode).toBe(0);
    const [header, first, second] = out.split('\n');
    expect(header).toMatch(/^INSTANCE +NODE +RUNTIME +ADDRESS +STATE +RESTARTS +AGE$/);
    expect(first).toMatch(/^web-1 +n1 +zones +127\.0\.0\.1 \(8080→40001\) +ready +0 +9\ds$/);
    expect(second).toMatch(/^web-2 .* pending /);
    expect(header?.indexOf('STATE')).toBe(first?.indexOf('ready'));
    expect((await bench.run(['get', 'pods', '-o', 'wide'])).out).toContain('4242');
    expect(JSON.parse((await bench.run(['get', 'po', 'web-1', '-o', 'json'])).out)).toMatchObject([{ pid: 4_242 }]);
    expect((await bench.run(['get', 'deployments', '-o', 'name'])).out).toBe('default/web\n');
    expect((await bench.run(['get', 'nodes'])).out).toMatch(/n1 +ready +0\.1\/2 +64 MiB\/4 GiB +1 +zones/);
    expect((await bench.run(['get', 'workloads', 'web', '-o', 'yaml'])).out).toContain('workload: default/web');
  });

  it('names what there is when nothing has the name', async () => {
    const { err, exitCode } = await bench.run(['get', 'instances', 'nope']);
    expect(exitCode).toBe(4);
    expect(err).toContain('nothing is called nope; there is web-1, web-2');
  });

  it('prints for each object of a manifest what became of it', async () => {
    await writeFile(join(bench.stateDir, 'web.yaml'), manifest);
    bench.kernel.onCommand = () => ({
      ...decided({ type: 'ServiceDeclared', data: { service: 'shop/web' } }),
      warnings: ['spec.foo: unknown field, ignored'],
    });
    const { out, err, exitCode } = await bench.run(['apply', '-f', 'web.yaml']);
    expect(exitCode).toBe(0);
    expect(out).toBe('deployment.apps/web unchanged\nservice/web created\n');
    expect(err).toBe('warning: spec.foo: unknown field, ignored\n');
    expect(bench.kernel.commands).toMatchObject([{ command: { command: { text: manifest, source: 'web.yaml' } } }]);
  });

  it('applies what comes on standard input, and waits when asked to', async () => {
    bench.kernel.onCommand = () => decided({ type: 'WorkloadChanged', data: { workload: 'default/web' } });
    const { out, exitCode } = await bench.run(['apply', '-f', '-', '--wait'], { stdin: manifest });
    expect(exitCode).toBe(0);
    expect(out).toContain('deployment.apps/web configured');
    expect(out).toContain('default/web has 2 of 2 ready');
  });

  it('says what hinders when the wait is over', async () => {
    const hindered = instanceView('web-2', 'default/web', { state: 'unplaceable', reason: 'no node has 9 cores' });
    bench.kernel.onView = () => clusterView({ workloads: [workloadView('default/web', 2, 1)], instances: [hindered] });
    bench.kernel.onCommand = () => decided({ type: 'WorkloadChanged', data: { workload: 'default/web' } });
    const { err, exitCode } = await bench.run(['scale', 'web', '2', '--wait', '--timeout', '100ms']);
    expect(exitCode).toBe(5);
    expect(err).toContain('default/web has 1 of 2 ready (web-2 is unplaceable: no node has 9 cores)');
    expect(err).toContain('TIMED_OUT');
  });

  it('sends scale, rollback, restart, cordon, uncordon, drain and swap', async () => {
    await bench.run(['scale', 'web', '--replicas=5']);
    await bench.run(['rollback', 'web', '--to-revision', '3']);
    await bench.run(['restart', 'deployment/web']);
    await bench.run(['cordon', 'n1', '--reason', 'disk']);
    await bench.run(['uncordon', 'n1']);
    await bench.run(['drain', 'n1', '--no-wait']);
    expect(bench.kernel.commands.map(({ command }) => command.command)).toEqual([
      { type: 'Scale', workload: 'web', replicas: 5 },
      { type: 'Rollback', workload: 'web', revision: 3 },
      { type: 'Restart', workload: 'deployment/web' },
      { type: 'CordonNode', node: 'n1', reason: 'disk' },
      { type: 'UncordonNode', node: 'n1' },
      { type: 'DrainNode', node: 'n1', reason: '' },
    ]);
    const swap = await bench.run(['swap', 'resources', './mine', '--config', 'a.b=7', '--config', 'c=text']);
    expect(swap.out).toContain('swapped resources');
    expect(bench.kernel.swaps).toEqual([
      { slot: 'resources', plugin: join(bench.stateDir, 'mine'), config: { a: { b: 7 }, c: 'text' } },
    ]);
  });

  it('deletes by name, by kind and names, and by manifest', async () => {
    const removed = decided({ type: 'WorkloadRemoved', data: { workload: 'default/web' } });
    bench.kernel.onCommand = () => removed;
    const { out } = await bench.run(['delete', 'web', '--no-wait']);
    expect(out).toBe('deployment/default/web deleted\n');
    await bench.run(['delete', 'deployment/web', 'service/web', '--no-wait']);
    await bench.run(['delete', 'deployment', 'a', 'b', '--no-wait']);
    await bench.run(['delete', '--all', '--no-wait']);
    await bench.run(['delete', '-f', '-', '--no-wait'], { stdin: manifest });
    expect(bench.kernel.commands.map(({ command }) => command.command)).toEqual([
      { type: 'Remove', name: 'web' },
      { type: 'Remove', kind: 'deployment', name: 'web' },
      { type: 'Remove', kind: 'service', name: 'web' },
      { type: 'Remove', kind: 'deployment', name: 'a' },
      { type: 'Remove', kind: 'deployment', name: 'b' },
      { type: 'RemoveAll' },
      { type: 'RemoveManifest', text: manifest, source: 'stdin' },
    ]);
    expect((await bench.run(['delete'])).exitCode).toBe(2);
  });

  it('passes a refusal on: message, code, what to do, exit code', async () => {
    bench.kernel.onCommand = () => {
      throw new CloudosError('WORKLOAD_NOT_FOUND', 'no workload nope', { remedy: 'look again' });
    };
    const { err, exitCode, out } = await bench.run(['scale', 'nope', '3']);
    expect(exitCode).toBe(4);
    expect(out).toBe('');
    expect(err).toBe('error: no workload nope\n  code  WORKLOAD_NOT_FOUND\n  do    look again\n');
  });

  it('prints the output of one instance as it is, of several with their names', async () => {
    const one = await bench.run(['logs', 'web-1']);
    expect(one).toMatchObject({ out: 'one\ntwo\n', err: 'oops\n', exitCode: 0 });
    const all = await bench.run(['logs', 'web']);
    expect(all.out.split('\n').sort()).toEqual(['', 'web-1 | one', 'web-1 | two', 'web-2 | three']);
    expect((await bench.run(['logs', 'nope'])).exitCode).toBe(4);
    await bench.run(['logs', 'web-1', '--since', '2026-01-31T12:00Z']);
    expect(bench.kernel.logRequests.at(-1)?.since).toBe(Date.UTC(2026, 0, 31, 12));
    expect(await bench.run(['logs', 'web-1', '--since', 'soon'])).toMatchObject({ exitCode: 2, out: '' });
  });

  it('runs a command and makes its exit code ours', async () => {
    const echo = await bench.run(['exec', 'web-1', '--', 'echo', '-n', 'hello']);
    expect(echo).toMatchObject({ out: '-n hello\n', err: 'done\n', exitCode: 0 });
    expect((await bench.run(['exec', 'web', '--', 'exit', '42'])).exitCode).toBe(42);
    const cat = await bench.run(['exec', '-i', 'web-1', '--', 'cat'], { stdin: 'from here' });
    expect(cat).toMatchObject({ out: 'from here', exitCode: 0 });
    expect((await bench.run(['exec', 'web-1', '--', 'missing'])).err).toContain('COMMAND_NOT_FOUND');
  });

  it('prints past events, live ones, and both as CloudEvents', async () => {
    bench.kernel.events.record(
      { stream: 'kernel', type: 'StackAssembled', data: { stack: 'fake' } },
      { stream: 'node-n1', type: 'GuestStarted', data: { instance: 'web-1', node: 'n1', attempt: 1 } },
    );
    const table = await bench.run(['events']);
    expect(table.out).toMatch(/POSITION +TIME +STREAM +EVENT +ABOUT/);
    expect(table.out).toMatch(/1 +\d\d:\d\d:\d\d\.\d{3} +node-n1 +GuestStarted +web-1 +node=n1 attempt=1/);
    expect((await bench.run(['events', '--types', 'Guest*', '--from', '0'])).out).not.toContain('StackAssembled');
    const follow = bench.run(['events', '-f', '--from', '1', '--limit', '2', '-o', 'json']);
    await expect.poll(() => bench.kernel.events.subscriptions).toBe(1);
    bench.kernel.events.record({ stream: 'kernel', type: 'SwapStarted' });
    const lines = (await follow).out.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).type)).toEqual(['io.cloudos.GuestStarted', 'io.cloudos.SwapStarted']);
  });

  it('shows status, plugins, why, the state at a position and everything about a thing', async () => {
    bench.kernel.events.record({ stream: 'kernel', type: 'StackAssembled' });
    bench.kernel.pluginViews = [
      {
        slot: 'guest',
        node: 'n1',
        plugin: 'guest-zones',
        version: '1',
        generation: 2,
        state: 'failed',
        attempt: 3,
        code: 'PLUGIN_FAILED',
        reason: 'it threw',
      },
    ];
    expect((await bench.run(['status'])).out).toContain('guest-zones (failed)');
    expect((await bench.run(['get', 'plugins'])).out).toMatch(/guest-zones +2 +failed +3 +- +PLUGIN_FAILED: it threw/);
    expect((await bench.run(['why', 'web-1'])).out).toContain('web-1 is fine');
    expect((await bench.run(['why', 'nothing'])).exitCode).toBe(4);
    expect((await bench.run(['state', '--at', '0'])).out).toContain('web-2');
    expect((await bench.run(['state', '--at', '99'])).exitCode).toBe(4);
    expect((await bench.run(['describe', 'deployment/web'])).out).toContain('2 ready of 2 wanted');
    expect((await bench.run(['describe', 'instance', 'web-1'])).out).toMatch(/pid +4242/);
    expect((await bench.run(['describe', 'node', 'n1'])).out).toContain('zones 1');
    expect((await bench.run(['describe', 'nope'])).exitCode).toBe(4);
  });

  it('says what is missing and what to do about it', async () => {
    bench.kernel.doctorReport = {
      nodes: [{ node: 'n1', checks: [{ name: 'kvm', status: 'missing', found: 'no /dev/kvm', remedy: 'load kvm' }] }],
    };
    const { out, exitCode } = await bench.run(['doctor', '--stack-only']);
    expect(exitCode).toBe(1);
    expect(out).toContain('missing  kvm: load kvm');
  });

  it('starts no second kernel with the same state directory', async () => {
    const { err, exitCode } = await bench.run(['up']);
    expect(exitCode).toBe(1);
    expect(err).toContain('KERNEL_ALREADY_RUNNING');
    expect(err).toContain(`process ${process.pid}`);
  });
});

describe('without a running kernel', () => {
  let bench: CliBench;
  beforeEach(async () => {
    bench = await CliBench.open({ running: false });
  });
  afterEach(() => bench.close());

  it('says so, with an exit code of its own', async () => {
    const { err, exitCode } = await bench.run(['get', 'nodes']);
    expect(exitCode).toBe(3);
    expect(err).toContain('KERNEL_NOT_RUNNING');
    expect(err).toContain(bench.stateDir);
  });

  it('does not take the file of a dead kernel, or of another process, for a kernel', async () => {
    const file = join(bench.stateDir, 'endpoint.json');
    await writeFile(join(bench.stateDir, 'token'), 'x'.repeat(32));
    for (const pid of [2 ** 22 + 1, process.pid]) {
      await writeFile(file, JSON.stringify({ url: 'http://127.0.0.1:9', pid, startedAt: 1 }));
      expect((await bench.run(['get', 'nodes'])).exitCode).toBe(3);
    }
    await writeFile(file, 'no json');
    expect((await bench.run(['get', 'nodes'])).exitCode).toBe(3);
  });

  it.each([
    [['describe'], 2],
    [['get', 'unicorns'], 2],
    [['nonsense'], 2],
    [['scale', 'web', 'many'], 2],
    [['scale', 'web', '--wait', '--timeout', 'soon'], 2],
    [['completion', 'tcsh'], 2],
    [['up', '--once', '--detach'], 2],
    [['--help'], 0],
    [['get', '--help'], 0],
    [['--version'], 0],
    [[], 2],
  ])('%j ends with %i', async (args, code) => {
    const { exitCode, err, out } = await bench.run(args);
    expect(exitCode).toBe(code);
    if (code === 2 && args.length > 0) expect(err).toContain('USAGE');
    if (args.includes('--help')) expect(out).toContain('Usage: cloudos');
  });

  it('gives every command a help with examples', async () => {
    const { out } = await bench.run(['--help']);
    const names = [...out.matchAll(/^ {2}([a-z]+) (?=.* {2})/gm)].map((match) => match[1] ?? '');
    expect(names.length).toBeGreaterThan(20);
    for (const name of names.filter((each) => !['help', 'log', 'stack', 'plugin'].includes(each))) {
      expect((await bench.run([name, '--help'])).out, name).toContain('Examples:');
    }
  });

  it.each(['bash', 'zsh', 'fish'])('completes in %s', async (shell) => {
    const { out } = await bench.run(['completion', shell]);
    for (const word of ['swap', 'cordon', 'instances', 'follow']) expect(out).toContain(word);
  });

  it('refuses a stack file that is not there or not right', async () => {
    expect((await bench.run(['stack', 'validate', 'nope.yaml'])).err).toContain('STACK_NOT_FOUND');
    await writeFile(join(bench.stateDir, 'bad.yaml'), 'apiVersion: [');
    expect((await bench.run(['up', '--stack', 'bad.yaml'])).err).toContain('STACK_MALFORMED');
    expect((await bench.run(['log', 'verify', '--stack', 'nope.yaml'])).err).toContain('STACK_NOT_FOUND');
  });
});
