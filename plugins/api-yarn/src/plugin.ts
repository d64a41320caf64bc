import { listenConfig } from '@cloudos/native-api';
import { definePlugin } from '@cloudos/sdk';
import { z } from 'zod';
import { YarnApi } from './yarn-api.driver.ts';

/** Configuration of api-yarn. The port is the one on which clients of YARN look for a ResourceManager. */
export const yarnApiConfig = z.strictObject({
  ...listenConfig({ port: 8088, token: 'none' }),
  /** Applications that are remembered after their end (`yarn.resourcemanager.max-completed-applications`). */
  completedApplicationsMax: z.int().nonnegative().max(100_000).default(1_000),
});
export type YarnApiConfig = z.infer<typeof yarnApiConfig>;

/** A read-only slice of the ResourceManager REST API, over whatever resource manager is in charge. */
export default definePlugin({
  name: 'api-yarn',
  slot: 'api',
  apiVersion: 1,
  description: 'A read-only slice of the ResourceManager REST API of YARN',
  config: yarnApiConfig,
  create: (context, config) => new YarnApi(context, config),
});
