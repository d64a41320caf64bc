import { definePlugin } from '@cloudos/sdk';
import { mesosApiConfig } from './config.ts';
import { MesosApi } from './mesos-api.driver.ts';

/** Lets frameworks outside of the stack speak to resources-mesos as they would to a Mesos master. */
export default definePlugin({
  name: 'api-mesos',
  slot: 'api',
  apiVersion: 1,
  description: 'The Mesos v1 scheduler HTTP API',
  requires: ['resources', 'orchestrator'],
  config: mesosApiConfig,
  create: (context, config) => new MesosApi(context, config),
});
