// The providers that steadymail knows, in the order in which they claim hosts and domains.
// Submission hosts have names of their own, so they may stand before or after the provider's MX patterns.

import type { ProviderPolicy } from '../core/policy.ts'
import { att, charter, comcast, cox } from './american.ts'
import { apple } from './apple.ts'
import { naver, netease, tencent } from './asian.ts'
import { interia, mailru, rambler, yandex, yandexSubmission } from './eastern.ts'
import { barracuda, ironport, messagelabs, mimecast, proofpoint, trendmicro } from './filters.ts'
import { freeFr, laposte, orange, sfr } from './french.ts'
import { gmail, gmailSubmission } from './gmail.ts'
import { gmx, ionos, ionosSubmission } from './gmx.ts'
import {
  cloudflare,
  facebook,
  godaddy,
  godaddySubmission,
  improvmx,
  rackspace,
  titan,
  zoho,
} from './hosts.ts'
import { exchangeOnline, office365Submission, outlook } from './microsoft.ts'
import { amazonSes, cpanel, mailhostbox, otherSubmission, sendgrid } from './submission.ts'
import { telekom } from './telekom.ts'
import { yahoo, yahooJapan } from './yahoo.ts'

/** What is known of the providers: their hosts, limits, and what their replies mean. */
export const builtinPolicies: readonly ProviderPolicy[] = [
  gmail,
  gmailSubmission,
  outlook,
  office365Submission,
  exchangeOnline,
  yahoo,
  yahooJapan,
  apple,
  gmx,
  ionos,
  ionosSubmission,
  telekom,
  orange,
  laposte,
  sfr,
  freeFr,
  comcast,
  cox,
  charter,
  att,
  mimecast,
  barracuda,
  proofpoint,
  messagelabs,
  trendmicro,
  ironport,
  godaddy,
  godaddySubmission,
  rackspace,
  titan,
  zoho,
  improvmx,
  cloudflare,
  facebook,
  netease,
  tencent,
  naver,
  yandex,
  yandexSubmission,
  mailru,
  rambler,
  interia,
  amazonSes,
  sendgrid,
  cpanel,
  mailhostbox,
  ...otherSubmission,
]
