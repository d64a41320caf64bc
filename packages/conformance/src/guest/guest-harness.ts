import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ExecRequest,
  type GuestContainerChange,
  type GuestDriver,
  type GuestExit,
  type GuestFingerprint,
  type GuestSpec,
  type GuestStatus,
  type GuestSupport,
  type GuestTemplate,
  guestTemplate,
  type LogRequest,
  type PluginDefinition,
} from '@cloudos/sdk';
import { firstValueFrom } from 'rxjs';
import { expect, type TestContext, test } from 'vitest';
import { type PluginContextOptions, pluginContext, type TestPluginContext } from '../plugin-context.ts';
import { boundedDriver, within } from './guest-bounds.ts';
import type { GuestCommands, GuestProgram, GuestPrograms } from './guest-programs.ts';

/** What the suite is made of, in the order in which it runs. */
export type GuestSuitePart =
  | 'lifecycle'
  | 'interaction'
  | 'limits'
  | 'isolation'
  | 'pods'
  | 'secrets'
  | 'snapshots'
  | 'faults'
  | 'adoption';

export interface GuestConformanceOptions {
  /** The parts that run: for a further configuration of a plugin, where another spec file has all of them. Default all. */
  readonly parts?: readonly GuestSuitePart[] | undefined;
  /** Configuration as a stack file would give it; goes through the schema of the plugin. */
  readonly config?: unknown;
  /** An image in which the programs of the suite run. */
  readonly image: string;
  /** It plays guests of other runtimes, and takes what only those know. */
  readonly takesAnyOptions?: boolean;
  /** Called with the state directory before the plugin is created: brings in the images that the suite names. */
  readonly prepare?: (stateDir: string) => Promise<unknown>;
  /** Why the suite cannot run here, with the command that would change it. Undefined: it can. */
  readonly prerequisite?: () => string | undefined;
  /**
   * What the plugin supports only with another driver than the one that `config` chooses. It is tested to be absent or
   * refused, and to be `false` in the features of the fingerprint.
   */
  readonly lacks?: readonly GuestSupport[];
  /** A directory that `config` allows guests to mount, made by the caller. For `supports.mounts`. */
  readonly hostPath?: string;
  /** A disk limit that the runtime can keep, for the test that exceeds it. Default 48 MiB. */
  readonly diskLimitBytes?: number;
  /** Makes something of that name at the runtime which the driver does not know, and returns what removes it. */
  readonly takeName?: (instance: string, harness: GuestHarness) => Promise<() => Promise<void>>;
  /** Makes an image whose stored bytes are damaged, and returns its reference. For `supports.imageDigest`. */
  readonly damagedImage?: (stateDir: string) => Promise<string>;
  /**
   * Leaves no room where the runtime keeps new guests, and returns what gives it back: for the test that a full disk is
   * told as DISK_FULL. Guests that were made before need not be seen meanwhile.
   */
  readonly fillDisk?: (harness: GuestHarness) => Promise<() => Promise<void>>;
  /**
   * Everything on the machine that a guest could leave behind: the same before and after rounds of create and remove.
   * `guestTraces` of `@cloudos/testing` finds what plugins of this repository could.
   */
  readonly traces?: (harness: GuestHarness) => unknown;
  /** State of a guest that a snapshot keeps. Default: a file, by `exec`. */
  readonly state?: {
    write(harness: GuestHarness, guest: GuestStatus, text: string): Promise<void>;
    read(harness: GuestHarness, guest: GuestStatus): Promise<string>;
  };
  /** The last word on every template that the suite makes. */
  readonly template?: (template: GuestTemplate) => GuestTemplate;
  readonly programs?: Partial<GuestPrograms>;
  readonly commands?: Partial<GuestCommands>;
  /** A memory limit in which the runtime and a small program fit, for the test that exceeds it. Default 64 MiB. */
  readonly memoryLimitBytes?: number;
  /** Passed to the contexts that the plugin is created with. */
  readonly context?: Pick<PluginContextOptions, 'clock'>;
  /** How long anything may take that the suite waits for. Default 60 s: far beyond what anything takes, also on a busy machine. */
  readonly deadlineMs?: number;
}

export type AskedTemplate = Partial<Omit<GuestTemplate, 'requests' | 'limits'>> & {
  readonly limits?: Partial<GuestTemplate['limits']>;
};

const nodeId = 'conformance';
/** How long an answer of the driver may take, in deadlines: it has bounds of its own, which are to be seen first. */
const deadlinesPerAnswer = 1.5;

/** A driver under test, its data directory, and everything it was seen to do. */
export class GuestHarness {
  readonly #plugin: PluginDefinition<'guest', unknown>;
  readonly #options: GuestConformanceOptions;
  readonly #dataDir: string;
  readonly exits: GuestExit[] = [];
  readonly containerChanges: GuestContainerChange[] = [];
  #context: TestPluginContext | undefined;
  #driver: GuestDriver | undefined;
  #generation = 0;
  #names = 0;

  private constructor(plugin: PluginDefinition<'guest', unknown>, options: GuestConformanceOptions, dataDir: string) {
    this.#plugin = plugin;
    this.#options = options;
    this.#dataDir = dataDir;
  }

  static async open(
    plugin: PluginDefinition<'guest', unknown>,
    options: GuestConformanceOptions,
  ): Promise<GuestHarness> {
    const harness = new GuestHarness(plugin, options, await mkdtemp(join(tmpdir(), 'cloudos-guest-')));
    await options.prepare?.(harness.stateDir);
    await harness.attach();
    return harness;
  }

  get driver(): GuestDriver {
    if (!this.#driver) throw new Error('the driver is detached');
    return this.#driver;
  }

  get dataDir(): string {
    return this.#dataDir;
  }

  /** The state directory that the driver shares with the rest of the machine: images, network, secrets. */
  get stateDir(): string {
    return `${this.#dataDir}.state`;
  }

  get deadlineMs(): number {
    return this.#options.deadlineMs ?? 60_000;
  }

  get #answerMaxMs(): number {
    return deadlinesPerAnswer * this.deadlineMs;
  }

  /** What the driver reported as a failure that no call could report. */
  get failures(): readonly unknown[] {
    return this.#context?.failures ?? [];
  }

  /** Creates a driver over the data of the one before. */
  async attach(): Promise<GuestDriver> {
    this.#generation += 1;
    const context = await pluginContext({
      ...this.#options.context,
      node: { id: nodeId },
      dataDir: this.#dataDir,
      stateDir: this.stateDir,
      generation: this.#generation,
    });
    const config = this.#plugin.config.parse(this.#options.config ?? {});
    const created = Promise.resolve(this.#plugin.create(context, config));
    const driver = boundedDriver(await within(this.#answerMaxMs, 'a driver', created), this.#answerMaxMs);
    const seen = driver.exits.subscribe((exit) => this.exits.push(exit));
    const changes = driver.containerChanges?.subscribe((change) => this.containerChanges.push(change));
    context.scope.defer('exits', () => seen.unsubscribe());
    context.scope.defer('changes of containers', () => changes?.unsubscribe());
    this.#context = context;
    this.#driver = driver;
    return driver;
  }

  /** Closes the driver as a kernel does that stops or replaces it. */
  async detach(): Promise<void> {
    const context = this.#context;
    this.#context = undefined;
    this.#driver = undefined;
    if (context) await within(this.#answerMaxMs, 'the end of the driver', context.scope.close());
  }

  /** Removes everything, the directory too. */
  async close(): Promise<void> {
    if (!this.#driver) await this.attach();
    await this.driver.purge();
    await this.detach();
    for (const path of [this.#dataDir, this.stateDir]) await rm(path, { recursive: true, force: true });
  }

  async fingerprint(): Promise<GuestFingerprint> {
    return within(this.deadlineMs, 'a fingerprint', firstValueFrom(this.driver.fingerprint()));
  }

  /** True when the node that the suite runs on gives what the plugin supports in general. */
  async offers(feature: string): Promise<boolean> {
    const print = await this.fingerprint();
    return print.available && print.features[feature] !== false;
  }

  spec(program: GuestProgram, asked: AskedTemplate = {}): GuestSpec {
    this.#names += 1;
    const { limits, ...rest } = asked;
    const template = guestTemplate.parse({
      image: this.#options.image,
      command: program.command,
      args: program.args ?? [],
      env: program.env ?? [],
      stopGraceMs: 2_000,
      ...rest,
      requests: {},
      limits: limits ?? {},
    });
    return {
      instance: `conformance-${this.#generation}-${this.#names}`,
      workload: 'default/conformance',
      node: nodeId,
      template: this.#options.template?.(template) ?? template,
    };
  }

  /** Creates a guest and starts its first attempt. */
  async run(program: GuestProgram, asked: AskedTemplate = {}): Promise<GuestStatus> {
    const spec = this.spec(program, asked);
    await this.driver.create(spec);
    return this.driver.start(spec.instance, 1);
  }

  async find(instance: string): Promise<GuestStatus | undefined> {
    return (await this.driver.list()).find((guest) => guest.instance === instance);
  }

  /** Waits for the exit to be reported. */
  async exitOf(instance: string, attempt = 1): Promise<GuestExit> {
    return this.until(`exit of ${instance}`, () =>
      this.exits.find((exit) => exit.instance === instance && exit.attempt === attempt),
    );
  }

  /** Polls until the answer is neither undefined nor false. Fails with `what` at the deadline. */
  async until<T>(what: string, poll: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
    const deadline = Date.now() + this.deadlineMs;
    for (;;) {
      const answer = await poll();
      if (answer !== undefined && answer !== false) return answer;
      if (Date.now() > deadline) throw new Error(`did not happen in ${this.deadlineMs} ms: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** What the guest has written so far, by stream. */
  async output(
    instance: string,
    asked: number | Pick<LogRequest, 'tailLines' | 'since' | 'container' | 'follow'> = {},
  ): Promise<{ stdout: string; stderr: string }> {
    const text = { stdout: '', stderr: '' };
    const request = typeof asked === 'number' ? { tailLines: asked } : asked;
    for await (const chunk of this.driver.logs(instance, request)) {
      text[chunk.stream] += Buffer.from(chunk.data).toString();
    }
    return text;
  }

  /**
   * What the guest has written to standard output, as soon as that is in it. What a program writes at once may come in
   * pieces: a line is there when its end is.
   */
  async printed(instance: string, text: string | RegExp): Promise<string> {
    return this.until(`${instance} prints ${text instanceof RegExp ? text : JSON.stringify(text)}`, async () => {
      const { stdout } = await this.output(instance);
      return (text instanceof RegExp ? text.test(stdout) : stdout.includes(text)) && stdout;
    });
  }

  /** All that the guest writes until it ends, by stream. */
  async said(instance: string): Promise<{ stdout: string; stderr: string }> {
    return this.output(instance, { follow: true });
  }

  /** Runs a command in the guest to its end. */
  async exec(
    instance: string,
    request: ExecRequest,
    input?: string,
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const session = await this.driver.exec(instance, request);
    const text = { stdout: '', stderr: '' };
    const ended = new Promise<void>((resolve, reject) => {
      session.output.subscribe({
        next: (chunk) => {
          text[chunk.stream] += Buffer.from(chunk.data).toString();
        },
        complete: resolve,
        error: reject,
      });
    });
    if (input !== undefined) await session.write(Buffer.from(input));
    session.end();
    const code = await session.exitCode;
    await within(this.deadlineMs, `the end of the output of ${request.command.join(' ').slice(0, 100)}`, ended);
    return { code, ...text };
  }
}

/** Asserts that the call is refused with one of the codes. */
export async function expectCode(call: Promise<unknown>, ...codes: string[]): Promise<void> {
  const code = await call.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );
  expect(codes).toContain(code);
}

/** A test that applies or does not: one that does not is not there, so that a skip always means a lack of the machine. */
export function testWhen(applies: boolean | undefined) {
  return (name: string, run: (context: TestContext) => void | Promise<void>, maxMs?: number): void => {
    if (applies) test(name, run, maxMs);
  };
}
