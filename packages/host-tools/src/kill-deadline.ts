/** How long a session may go on after its command was killed: what the command has started may hold its output open. */
const maxMs = 5_000;
/** Of a command that a SIGKILL ended. */
const killedCode = 128 + 9;

/**
 * Ends the session of a killed command in a bounded time. Processes that the command has started may live on with its
 * output open, and most runtimes tell an exit code only when there can be no more output.
 */
export class KillDeadline {
  /** The code that the runtime tells; 137 when it has told none within 5 s after {@link start}. */
  readonly exitCode: Promise<number>;
  #timer: NodeJS.Timeout | undefined;
  #over = false;
  readonly #passed: () => void;

  /** @param abandon ends the output and lets go of what carries it; called when the time is over */
  constructor(exitCode: Promise<number>, abandon: () => void) {
    let pass = () => {};
    const passed = new Promise<number>((resolve) => {
      pass = () => resolve(killedCode);
    });
    this.#passed = () => {
      pass();
      abandon();
    };
    this.exitCode = Promise.race([exitCode, passed]);
    const over = () => {
      this.#over = true;
      clearTimeout(this.#timer);
    };
    this.exitCode.then(over, over);
  }

  /** The command was killed. */
  start(): void {
    if (!this.#over) this.#timer ??= setTimeout(this.#passed, maxMs);
  }
}
