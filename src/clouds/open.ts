// The clouds that keygate asks for secrets, keys and storage, as the configuration names them.

import type { CloudsConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Outgoing } from '../platform/outgoing.ts';
import { Aws } from './aws.ts';
import { Azure } from './azure.ts';
import { Gcp } from './gcp.ts';
import type { CloudIdentity } from './identity.ts';
import { Oci } from './oci.ts';
import { Vault } from './vault.ts';

export interface Clouds {
  readonly aws: Aws;
  readonly gcp: Gcp;
  readonly azure: Azure;
  readonly oci: Oci;
  readonly vault: Vault;
  readonly identity: CloudIdentity;
}

export function openClouds(
  config: CloudsConfig,
  outgoing: Outgoing,
  identity: CloudIdentity,
  clock: Clock,
): Clouds {
  return {
    aws: new Aws(config.aws, outgoing, clock),
    gcp: new Gcp(config.gcp, outgoing, identity, clock),
    azure: new Azure(config.azure, outgoing, identity, clock),
    oci: new Oci(config.oci, outgoing, clock),
    vault: new Vault(config.vault, outgoing),
    identity,
  };
}
