import type { Probe } from '@cloudos/sdk';
import type { Fields } from './fields.ts';

/** A port of a container as its probes and services may name it. */
export interface NamedPort {
  readonly name?: string | undefined;
  readonly port: number;
}

/**
 * A probe with the defaults of Kubernetes
 * (https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/).
 * Liveness and startup probes succeed at the first success.
 */
export function readProbe(
  container: Fields,
  key: 'readinessProbe' | 'livenessProbe' | 'startupProbe',
  ports: readonly NamedPort[],
): Probe | undefined {
  const fields = container.object(key);
  if (!fields) return undefined;
  const check = readCheck(fields, ports);
  const successThreshold = fields.int('successThreshold') || 1;
  if (key !== 'readinessProbe' && successThreshold !== 1) {
    fields.report.invalid(fields.at('successThreshold'), successThreshold, '1');
  }
  const probe = {
    initialDelayMs: (fields.int('initialDelaySeconds') ?? 0) * 1000,
    periodMs: (fields.int('periodSeconds') || 10) * 1000,
    timeoutMs: (fields.int('timeoutSeconds') || 1) * 1000,
    successThreshold,
    failureThreshold: fields.int('failureThreshold') || 3,
  };
  fields.advisory(['terminationGracePeriodSeconds'], 'ignored: the grace period of the pod applies');
  fields.done();
  return check && { check, ...probe };
}

function readCheck(probe: Fields, ports: readonly NamedPort[]): Probe['check'] | undefined {
  const [http, tcp, exec] = [probe.object('httpGet'), probe.object('tcpSocket'), probe.object('exec')];
  probe.unsupported(['grpc'], 'grpc probes are not supported: use httpGet, tcpSocket or exec');
  const given = [http, tcp, exec].filter((kind) => kind !== undefined);
  if (given.length !== 1) {
    if (!probe.has('grpc')) probe.report.refuse(probe.path, 'expected exactly one of httpGet, tcpSocket, exec');
    return undefined;
  }
  if (http) return readHttp(http, ports);
  if (tcp) {
    const port = readPort(tcp, ports);
    tcp.advisory(['host'], 'ignored: the guest itself is probed');
    tcp.done();
    return port === undefined ? undefined : { kind: 'tcp', port };
  }
  const command = exec?.strings('command') ?? [];
  exec?.done();
  if (command.length > 0) return { kind: 'exec', command };
  probe.report.invalid(probe.at('exec.command'), command, 'a list of at least one string');
  return undefined;
}

function readHttp(http: Fields, ports: readonly NamedPort[]): Probe['check'] | undefined {
  const port = readPort(http, ports);
  const path = http.string('path') || '/';
  const scheme = http.oneOf('scheme', ['HTTP', 'HTTPS']) === 'HTTPS' ? 'https' : 'http';
  const headers = http.list('httpHeaders').map((header) => {
    const read = { name: header.required('name'), value: header.string('value') ?? '' };
    header.done();
    return read;
  });
  http.advisory(['host'], 'ignored: the guest itself is probed');
  http.done();
  if (port === undefined) return undefined;
  return { kind: 'http', port, path: path.startsWith('/') ? path : `/${path}`, scheme, headers };
}

function readPort(fields: Fields, ports: readonly NamedPort[]): number | undefined {
  const given = fields.raw('port');
  if (typeof given === 'string') {
    const named = ports.find((port) => port.name === given);
    if (named) return named.port;
    const names = ports.flatMap((port) => (port.name ? [port.name] : []));
    fields.report.invalid(
      fields.at('port'),
      given,
      `the name of a port of the container (${names.join(', ') || 'none'})`,
    );
    return undefined;
  }
  if (given === undefined) {
    fields.report.invalid(fields.at('port'), given, 'a port number or the name of a port');
    return undefined;
  }
  return fields.int('port', { min: 1, max: 65_535 });
}
