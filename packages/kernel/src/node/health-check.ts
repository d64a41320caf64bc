import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { type GuestAddress, messageOf, type Probe, type ProbeResult } from '@cloudos/sdk';

type Check = Probe['check'];

/** Where a port of the guest is reached from the node. */
export function reach(address: GuestAddress, port: number): { host: string; port: number } {
  return { host: address.host, port: address.ports?.[String(port)] ?? port };
}

/** An HTTP check succeeds with a status of 200 to 399, a TCP check when the port accepts (as in Kubernetes). */
export function checkOverNetwork(
  check: Exclude<Check, { kind: 'exec' }>,
  address: GuestAddress,
  timeoutMs: number,
): Promise<ProbeResult> {
  const target = reach(address, check.port);
  return check.kind === 'tcp' ? checkTcp(target, timeoutMs) : checkHttp(check, target, timeoutMs);
}

type Target = { host: string; port: number };

function checkHttp(check: Extract<Check, { kind: 'http' }>, target: Target, timeoutMs: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const send = check.scheme === 'https' ? httpsRequest : httpRequest;
    const headers = Object.fromEntries(check.headers.map(({ name, value }) => [name, value]));
    const request = send(
      { ...target, path: check.path, headers, agent: false, timeout: timeoutMs, rejectUnauthorized: false },
      (response) => {
        response.destroy(); // the status says it all; a body may never end
        clearTimeout(deadline);
        const status = response.statusCode ?? 0;
        resolve({ ok: status >= 200 && status < 400, message: `HTTP status ${status}` });
      },
    );
    const deadline = setTimeout(() => request.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    request.on('error', (error) => {
      clearTimeout(deadline);
      resolve({ ok: false, message: messageOf(error) });
    });
    request.end();
  });
}

function checkTcp(target: Target, timeoutMs: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ ...target, timeout: timeoutMs });
    const settle = (ok: boolean, message: string) => {
      socket.destroy();
      resolve({ ok, message });
    };
    socket.on('connect', () => settle(true, 'connected'));
    socket.on('timeout', () => settle(false, `no answer in ${timeoutMs} ms`));
    socket.on('error', (error) => settle(false, messageOf(error)));
  });
}
