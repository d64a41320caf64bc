import { CloudosError, type ExecRequest, type ExecSession, type OutputChunk } from '@cloudos/sdk';
import { ReplaySubject } from 'rxjs';
import { type AgentConnection, refusal } from './agent-connection.ts';
import { type AgentMessage, encodeFields, type Fields, types } from './agent-message.ts';

/** Chunks that are kept for a subscriber that comes after the call; earlier ones are dropped past this. */
const outputChunksMax = 4096;
/** Bytes of input that may be under way. The agent keeps four times that at the most. */
const windowBytes = 64 * 1024;
const pieceBytes = 32 * 1024;
/** The exit code of a command whose end nobody can tell any more. */
const lostCode = 255;
const notFoundCode = 127;
/** How long an agent may say nothing at all when it was told to begin a command. */
const silenceMaxMs = 5_000;
/** How long it may be busy with others before it begins it. */
const beginMaxMs = 60_000;

export interface ExecDefaults {
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: number;
  /** Which container of the machine: 0 is the first. */
  readonly container?: number;
}

/**
 * Runs a command in the guest. @throws CloudosError GUEST_UNRESPONSIVE when the agent does not begin in time,
 * GUEST_SPEC_INVALID when it is more than the agent takes
 */
export async function execByAgent(
  agent: AgentConnection,
  request: ExecRequest,
  defaults: ExecDefaults,
): Promise<ExecSession> {
  const { tty } = request;
  const env = { ...defaults.env, ...request.env, ...(tty ? { TERM: request.env?.TERM ?? 'xterm' } : {}) };
  const session = new AgentSession(agent, [
    ...request.command.map((word) => ['arg', word] as const),
    ...Object.entries(env).map(([name, value]) => ['env', `${name}=${value}`] as const),
    ['cwd', request.workingDir ?? defaults.workingDir],
    ['user', String(defaults.user)],
    ...(defaults.container ? ([['container', String(defaults.container)]] as const) : []),
    ...(tty ? ([['tty', '1'], ...size(tty.columns, tty.rows)] as const) : []),
  ]);
  if (await session.began) return session;
  session.kill();
  const isSilent = agent.silentMs >= silenceMaxMs;
  // Commands of others that it still talks of go on.
  if (isSilent) agent.close();
  const how = isSilent ? `says nothing for ${silenceMaxMs} ms` : `is busy with other commands for ${beginMaxMs} ms`;
  throw new CloudosError('GUEST_UNRESPONSIVE', `the agent of the guest was told to run a command and ${how}`);
}

function size(columns: number, rows: number): Fields {
  return [
    ['rows', String(rows)],
    ['columns', String(columns)],
  ];
}

class AgentSession implements ExecSession {
  readonly output;
  readonly exitCode: Promise<number>;
  readonly #agent: AgentConnection;
  readonly #channel: number;
  readonly #output = new ReplaySubject<OutputChunk>(outputChunksMax);
  /** False: neither begun nor refused in time. */
  readonly began: Promise<boolean>;
  #answer: (began: boolean) => void = () => {};
  #waiting: (() => void)[] = [];
  #underWay = 0;
  #over = false;
  #end: (code: number) => void = () => {};

  constructor(agent: AgentConnection, fields: Fields) {
    const payload = encodeFields(fields);
    this.#agent = agent;
    this.output = this.#output.asObservable();
    this.exitCode = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.began = new Promise((resolve) => {
      const since = performance.now();
      const look = () => {
        if (agent.silentMs >= silenceMaxMs || performance.now() - since >= beginMaxMs) resolve(false);
        else timer = setTimeout(look, silenceMaxMs - agent.silentMs + 1);
      };
      let timer = setTimeout(look, silenceMaxMs);
      this.#answer = (began) => {
        clearTimeout(timer);
        resolve(began);
      };
    });
    this.#channel = agent.openChannel((message) => this.#receive(message));
    agent.send(types.run, this.#channel, payload);
  }

  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length && !this.#over; at += pieceBytes) {
      while (this.#underWay >= windowBytes && !this.#over) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      }
      const piece = data.subarray(at, at + pieceBytes);
      this.#underWay += piece.length;
      this.#agent.send(types.input, this.#channel, piece);
    }
  }

  end(): void {
    this.#agent.send(types.inputEnd, this.#channel);
  }

  resize(columns: number, rows: number): void {
    this.#agent.send(types.resize, this.#channel, encodeFields(size(columns, rows)));
  }

  kill(): void {
    this.#agent.send(types.endSession, this.#channel);
  }

  #receive(message: AgentMessage | undefined): void {
    if (!message) return this.#finish(lostCode);
    const { type, payload } = message;
    if (type === types.output) this.#output.next({ stream: 'stdout', data: payload });
    else if (type === types.errorOutput) this.#output.next({ stream: 'stderr', data: payload });
    else if (type === types.started) this.#answer(true);
    else if (type === types.taken) {
      this.#underWay -= payload.readUInt32LE(0);
      this.#wake();
    } else if (type === types.ended) this.#finish(payload.readUInt32LE(0));
    else if (type === types.refused) {
      this.#output.next({ stream: 'stderr', data: Buffer.from(`${refusal(message).message}\n`) });
      this.#finish(notFoundCode);
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #finish(code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#answer(true);
    this.#agent.closeChannel(this.#channel);
    this.#wake();
    this.#output.complete();
    this.#end(code);
  }
}
