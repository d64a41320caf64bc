import { join, resolve } from 'node:path';
import type { CloudosClient } from '@cloudos/client';
import type { Gateway, GatewayLimits, GatewayOptions } from '@cloudos/gateway';
import type { Kernel, Stack } from '@cloudos/kernel';
import type { CliContext } from '../context.ts';
import { clientOf } from '../endpoint.ts';
import { makeStateDir, rememberStack } from '../state-dir.ts';
import { FileLogger, logLevelOf } from './file-logger.ts';

/** How a kernel that we serve has come to its end. */
export type Ending = { readonly how: 'stopped' | 'down' } | { readonly how: 'failed'; readonly error: unknown };

/** A kernel in this process, behind its gateway. */
export interface ServedKernel {
  readonly client: CloudosClient;
  readonly gateway: Gateway;
  readonly kernel: Kernel;
  readonly logFile: string;
  /** Resolves when a client has ended the kernel, or when it could not go on. */
  readonly ended: Promise<Ending>;
  /** Stops the gateway, then the kernel. Guests go on running. */
  close(): Promise<void>;
}

export interface ServeOptions {
  readonly stackFile: string;
  readonly stateDir: string;
  onProgress(text: string): void;
}

/** Boots a stack and opens its gateway. Errors: those of `bootKernel` and of `startGateway`; nothing is left then. */
export async function serveStack(context: Pick<CliContext, 'env'>, options: ServeOptions): Promise<ServedKernel> {
  const { stackFile, stateDir, onProgress } = options;
  const [{ bootKernel, readStack }, { startGateway }] = await Promise.all([
    import('@cloudos/kernel'),
    import('@cloudos/gateway'),
  ]);
  const stack = await readStack(stackFile);
  await makeStateDir(stateDir);
  const logFile = join(stateDir, 'kernel.log');
  const logger = new FileLogger(logFile, logLevelOf(context.env.CLOUDOS_LOG_LEVEL));
  let end: (ending: Ending) => void = () => {};
  const ended = new Promise<Ending>((resolve) => {
    end = resolve;
  });
  const onFatal = (error: unknown) => end({ how: 'failed', error });
  try {
    const kernel = await bootKernel({ stack, stateDir, logger, onProgress, onFatal });
    await rememberStack(stateDir, stackFile);
    const { host, port, origins, limits, slowSubscriberMs } = stack.gateway;
    const onEnd = (how: 'stopped' | 'down') => end({ how });
    try {
      const gateway = await startGateway({
        kernel,
        stateDir,
        logger,
        host,
        port,
        allowedOrigins: origins,
        tls: tlsOf(stack),
        limits: limits as Partial<GatewayLimits>,
        bounds: slowSubscriberMs === undefined ? {} : { slowSubscriberMs },
        onEnd,
      });
      const { fingerprint, certificateFile: caFile } = gateway;
      const client = await clientOf(gateway.url, gateway.token, { fingerprint, caFile });
      const close = async () => {
        await gateway.close();
        await kernel.stop();
        logger.close();
      };
      return { client, gateway, kernel, logFile, ended, close };
    } catch (error) {
      await kernel.stop();
      throw error;
    }
  } catch (error) {
    logger.error('the kernel did not start', { error: String(error) });
    logger.close();
    throw error;
  }
}

/** Files are named relative to the stack file. */
function tlsOf({ gateway: { tls }, dir }: Stack): GatewayOptions['tls'] {
  if (typeof tls !== 'object') return tls;
  return { certificate: resolve(dir, tls.certificate), key: resolve(dir, tls.key) };
}
