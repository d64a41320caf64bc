/** An assembled distribution: a stack of its own, with a command of its own. */
export interface Distribution {
  /** What the command is called, and after what its state directory is named. */
  readonly command: string;
  readonly description: string;
  readonly version: string;
  /** Its stack file. Plugins are looked for from there, so they are dependencies of the distribution's package. */
  readonly stackFile: string;
}

/** The command of cloudos itself, which takes the stack that it is given. */
export const plainCommand = 'cloudos';
