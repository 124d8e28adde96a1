"""Programs that open links by themselves: previews of chats and social networks, search engines, mail scanners.

A program is recognized by its name in `User-Agent`. Many mail scanners give no name and look like a browser on
purpose. So this list avoids most openings by programs, and proves nothing. To be sure, use a guard with a confirmation.
A name in the list must never be part of what a person's browser sends, the browser inside an app included: so
"Pinterest/0." and not "Pinterest", and no "Teams" or "Outlook".

Sources, as of 2026-07: the pages beside the names, and for a program without a page the samples of
https://github.com/monperrus/crawler-user-agents (MIT).
"""

from __future__ import annotations

import re
from typing import Final

_PREVIEWS: Final = (
    r"Slackbot",  # https://api.slack.com/robots
    r"Slack-ImgProxy",
    r"Twitterbot",  # https://developer.x.com/en/docs/x-for-websites/cards/guides/getting-started; iMessage says so too
    r"facebookexternalhit",  # https://developers.facebook.com/docs/sharing/webmasters/web-crawlers
    r"facebookcatalog",
    r"meta-external(agent|ads|fetcher|hit)",
    r"Facebot",
    r"^WhatsApp",  # Signal and others give this name for their previews
    r"TelegramBot",
    r"Discordbot",
    r"LinkedInBot",
    r"SkypeUriPreview",  # Skype and Teams
    r"MicrosoftPreview",  # https://www.bing.com/webmasters/help/which-crawlers-does-bing-use-8c184ec0
    r"BingPreview",
    r"^Viber",
    r"SnapURLPreview",  # https://business.snapchat.com/legal/snapchat-automated-crawler
    r"Snap URL Preview Service",
    r"Pinterestbot",  # http://www.pinterest.com/bot.html
    r"^Pinterest/0\.",
    r"redditbot",
    r"vkShare",  # http://vk.com/dev/Share
    r"Mastodon/",
    r"^Bluesky/",  # https://knownagents.com/agents/bluesky-link-preview-service
    r"BlueskyPreviewBot",
    r"Embedly",  # http://support.embed.ly
    r"Iframely",  # https://iframely.com/docs/about
    r"Chatwork LinkPreview",
    r"BufferLinkPreviewBot",
    r"Yahoo Link Preview",  # https://help.yahoo.com/kb/mail/yahoo-link-preview-SLN23615.html
    r"kakaotalk-scrap",
    r"XING-contenttabreceiver",
)
_SEARCH: Final = (
    r"Googlebot",  # https://developers.google.com/search/docs/crawling-indexing/overview-google-crawlers
    r"Google-(InspectionTool|Read-Aloud|Site-Verification)",
    r"Google Web Preview",
    r"bingbot",
    r"Applebot",  # https://support.apple.com/en-us/119829
)
_MAIL: Final = (
    r"Google-Safety",  # looks for abuse; https://developers.google.com/search/docs/crawling-indexing/google-special-case-crawlers
    r"Barracuda",  # "Barracuda Sentinel (EE)"; that it opens links: https://campus.barracuda.com/product/sentinel/doc/498468311
    r"Proofpoint",  # these four, where they say who they are at all:
    r"Mimecast",  # https://check.live-direct-marketing.online/blog/bot-clicks-security-scanners-detect
    r"CiscoSecureEmail",
    r"SafeLinks",
    r"FastmailUA",  # https://www.fastmail.com/policies/bots/
    r"YahooMailProxy",  # https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html
    r"Microsoft Office (Existence|Protocol) Discovery",  # Office looks at a link before a browser opens it
    r"^Mozilla/4\.0 \(compatible; ms-office; MSOffice",
)
_AGENT: Final = re.compile("|".join((*_PREVIEWS, *_SEARCH, *_MAIL)).lower())
_LOOKED_AT: Final = 512
"""How many characters are searched. Browsers and these programs name themselves within them."""


def is_agent(user_agent: str) -> bool:
    """Return whether a request with this `User-Agent` comes from a program that opens links by itself."""
    return _AGENT.search(user_agent[:_LOOKED_AT].lower()) is not None
