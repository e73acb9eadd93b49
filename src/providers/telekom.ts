// T-Online (Deutsche Telekom). It wants a mail host whose name leads to a page with contact details.

import type { ProviderPolicy } from '../core/policy.ts'
import { READ, sourced } from './sourced.ts'

const URL = 'https://postmaster.t-online.de/index.en.html'
const rule = sourced('T-Online postmaster page', READ, URL)
const ADVICE =
  'Give the mail host a web page with contact details, then write to tosa@rx.t-online.de and ask for a reset.'

export const telekom: ProviderPolicy = {
  name: 't-online',
  domains: ['t-online.de', 'magenta.de'],
  mx: ['*.t-online.de'],
  marks: [/\btosa@rx\.t-online\.de/],
  url: URL,
  rules: [
    rule(
      't-online-ip',
      'reputation-ip',
      /\b(?:IP[=:]|a problem occurred|none\/bad reputation|dialup\/transient)/i,
      [
        '554 IP=192.0.2.77 - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify.) (BL)',
        '554 IP=192.0.2.4 - None/bad reputation. Ask your postmaster for help or to contact tosa@rx.t-online.de for reset. (NOWL)',
      ],
      { scope: 'lane', advice: ADVICE },
    ),
  ],
}
