// The general rules in the order they are asked: the closer a cause is named, the earlier it stands.

import type { ReplyRule } from '../../policy.ts'
import { accounts, content, policy, saysNothing, urlReputation } from './content.ts'
import {
  concurrent,
  greylisting,
  perSession,
  receiving,
  recipientsInTime,
  sendingQuota,
  tooFast,
} from './limits.ts'
import {
  disabled,
  full,
  international,
  relaying,
  relayingDomain,
  tooLarge,
  unknownUser,
  unverified,
} from './recipient.ts'
import {
  addressBlocked,
  domainAuthentication,
  encryption,
  listed,
  login,
  names,
  reputation,
  senderAddress,
  senderWords,
} from './sender.ts'
import { commands, line, lineFirst, routing, unwell } from './system.ts'

export const GENERAL_RULES: readonly ReplyRule[] = [
  ...international,
  ...greylisting,
  ...saysNothing,
  ...unverified,
  ...lineFirst,
  ...domainAuthentication,
  ...login,
  ...senderWords,
  ...accounts,
  ...receiving,
  ...recipientsInTime,
  ...perSession,
  ...concurrent,
  ...encryption,
  ...names,
  ...urlReputation,
  ...reputation,
  ...sendingQuota,
  ...listed,
  ...relaying,
  ...full,
  ...tooFast,
  ...tooLarge,
  ...senderAddress,
  ...addressBlocked,
  ...disabled,
  ...routing,
  ...unknownUser,
  ...relayingDomain,
  ...content,
  ...commands,
  ...line,
  ...unwell,
  ...policy,
]
