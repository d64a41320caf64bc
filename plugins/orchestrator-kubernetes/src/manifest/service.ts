import type { ServiceSpec } from '@cloudos/sdk';
import type { Fields } from './fields.ts';
import { readMetadata } from './metadata.ts';

/** A Service (https://kubernetes.io/docs/concepts/services-networking/service/). */
export function readService(fields: Fields): ServiceSpec | undefined {
  const { name, namespace } = readMetadata(fields, 'label');
  const spec = fields.object('spec');
  if (!spec) {
    if (!fields.has('spec')) fields.report.invalid('spec', undefined, 'a mapping');
    return undefined;
  }
  const type = spec.raw('type');
  if (type === 'ExternalName') spec.report.refuse(spec.at('type'), 'ExternalName is not supported');
  else spec.oneOf('type', ['ClusterIP', 'NodePort', 'LoadBalancer']);
  if (type === 'LoadBalancer') spec.report.warn(spec.at('type'), 'served as ClusterIP: there is no cloud to ask');
  const selector = spec.stringMap('selector');
  if (Object.keys(selector).length === 0) {
    spec.report.warn(spec.at('selector'), 'empty: the service will have no endpoints');
  }
  const ports = readPorts(spec, type === 'NodePort' || type === 'LoadBalancer');
  unsupportedFields(spec);
  spec.done();
  fields.silent(['status']);
  fields.done();
  return { service: `${namespace}/${name}`, selector, ports };
}

function readPorts(spec: Fields, onNodes: boolean): ServiceSpec['ports'] {
  const ports: ServiceSpec['ports'] = [];
  const given = spec.list('ports');
  if (given.length === 0) spec.report.invalid(spec.at('ports'), spec.raw('ports'), 'a list of at least one port');
  for (const fields of given) {
    const name = fields.string('name');
    if (given.length > 1 && !name) fields.report.invalid(fields.at('name'), name, 'a name: there are several ports');
    if (name && ports.some((port) => port.name === name))
      fields.report.refuse(fields.at('name'), `${name} is used twice`);
    if (!fields.has('port')) fields.report.invalid(fields.at('port'), undefined, 'a port number');
    const port = fields.int('port', { min: 1, max: 65_535 });
    const targetPort = readTargetPort(fields) ?? port;
    const protocol = fields.oneOf('protocol', ['TCP', 'UDP']) === 'UDP' ? 'udp' : 'tcp';
    const appProtocol = fields.string('appProtocol');
    const nodePort = fields.int('nodePort', { min: 1, max: 65_535 });
    if (nodePort !== undefined && !onNodes) {
      fields.report.refuse(fields.at('nodePort'), 'needs a service of type NodePort');
    }
    fields.done();
    if (port === undefined || targetPort === undefined) continue;
    ports.push({
      ...(name && { name }),
      port,
      targetPort,
      protocol,
      ...(appProtocol && { appProtocol }),
      ...(nodePort !== undefined && { nodePort }),
    });
  }
  return ports;
}

function readTargetPort(fields: Fields): number | string | undefined {
  const given = fields.raw('targetPort');
  return typeof given === 'string' && given !== '' ? given : fields.int('targetPort', { min: 1, max: 65_535 });
}

function unsupportedFields(spec: Fields): void {
  if (spec.raw('sessionAffinity') !== 'None') {
    spec.advisory(['sessionAffinity', 'sessionAffinityConfig'], 'ignored: requests go to any endpoint');
  }
  if (spec.raw('clusterIP') === 'None') spec.report.warn(spec.at('clusterIP'), 'served as a service with an address');
  spec.advisory(['externalIPs', 'externalName', 'loadBalancerIP', 'loadBalancerSourceRanges'], 'ignored');
  spec.advisory(['publishNotReadyAddresses', 'trafficDistribution'], 'ignored');
  spec.silent(['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy', 'internalTrafficPolicy']);
  spec.silent(['externalTrafficPolicy', 'healthCheckNodePort', 'allocateLoadBalancerNodePorts', 'loadBalancerClass']);
}
