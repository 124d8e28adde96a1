"""Programs that open links, recognized by their `User-Agent`."""

import re
import tomllib

import pytest
from support.tree import ROOT

from callback_server.domain.agents import KINDS, NAMES, SOURCES, is_agent
from callback_server.domain.call import Request
from callback_server.domain.guard import by_agent

PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
COLLECTED = tomllib.loads((ROOT / "tests" / "data" / "user_agents.toml").read_text())["sources"]
SLACK = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"


@pytest.mark.parametrize(
    "agent",
    [
        SLACK,
        "Twitterbot/1.0",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 "
        "Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        "WhatsApp/2.23.20.0 A",
        "TelegramBot (like TwitterBot)",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
        "Mozilla/5.0 (compatible; Yahoo Link Preview; https://help.yahoo.com/kb/mail/yahoo-link-preview-SLN23615.html)",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.5735.179 "
        "Safari/537.36 (compatible; Google-Safety; +http://www.google.com/bot.html)",
        "Barracuda Sentinel (EE)",
        "Microsoft Office Existence Discovery",
        "Pinterest/0.2 (+http://www.pinterest.com/bot.html)",
        "",
        " ",
        "curl/8.14.1",
        "python-requests/2.32.5",
        "Go-http-client/1.1",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)",
        "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
        "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
        "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/7.0; .NET4.0E; ms-office; MSOffice rmj)",
        "Microsoft Office Word 2014",
        "Bluesky/1.0",
        "Viber/13.3.0.5 CFNetwork/1120 Darwin/19.0.0",
        "Iframely/1.3.1 (+https://iframely.com/docs/about)",
        "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)",
        "MyShop/7 CFNetwork/1490.0.4 Darwin/23.2.0",
        "GuzzleHttp/7",
        "Java/21.0.2",
        "Jakarta Commons-HttpClient/3.1",
        "PostmanRuntime/7.43.0",
        "Deno/2.1.4",
        "Bun/1.2.0",
        "PHP/8.3",
        "Symfony HttpClient/Curl",
        "reqwest/0.12",
        "hyper/1.5",
        "RestSharp/111",
        "Typhoeus - https://github.com",
        "Faraday v2.12.2",
        "Twisted PageGetter",
        "WordPress/6.7; https://blog.example",
        "Synapse (bot; +https://matrix.org)",
        "Zabbix",
        "HubSpot Connect 2.0",
        "Iceweasel",
        "ia_archiver",
        "Opera",
        "links-checker",
        "-",
        "Mozilla",
    ],
)
def test_programs_that_open_links_are_known(agent):
    assert is_agent(agent)
    assert is_agent(agent.lower())


def collected(kind):
    return [agent for source in COLLECTED for agent in source.get(kind, ())]


def test_every_program_of_public_collections_is_known():
    programs = collected("programs")
    assert len(set(programs)) == len(programs) >= 110
    assert [each for each in programs if not is_agent(each)] == []


def test_no_browser_of_public_collections_is_taken_for_a_program():
    browsers = collected("browsers")
    assert len(set(browsers)) == len(browsers) >= 100
    assert [each for each in browsers if is_agent(each)] == []


def test_of_a_long_name_only_the_beginning_is_looked_at():
    assert is_agent("Mozilla/5.0 " + "x" * 490 + "Slackbot")
    assert not is_agent("Mozilla/5.0 " + "x" * 500 + "Slackbot")


@pytest.mark.parametrize(
    "agent",
    [
        PERSON,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 "
        "Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 16; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/146.0.7680.174 "
        "Mobile Safari/537.36 MetaIAB Facebook",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Mobile/15E148 [Pinterest/iOS]",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/21A329 [FBAN/FBIOS;FBAV/1]",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Mobile/15E148 [LinkedInApp]/9.78.4909",
        "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/75 Mobile Safari/537",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Teams/1.6.00 Chrome/96.0 "
        "Electron/16.0 Safari/537.36",
        "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36 WhatsApp/2.24",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Outlook-iOS/2.0",
        "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0",
        "Mozilla/5.0 (Mobile; Nokia_2720_Flip; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5.2",
        "Mozilla/5.0 (compatible; Konqueror/4.5; FreeBSD) KHTML/4.5.4 (like Gecko)",
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",
        "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10",
        "UCWEB/2.0 (MIDP-2.0; U; Adr 4.4.4; en-US; XT1022) U2/1.0.0 UCBrowser/10.6.0.706 U2/1.0.0 Mobile",
        "BlackBerry9700/5.0.0.351 Profile/MIDP-2.1 Configuration/CLDC-1.1 VendorID/123",
        "Lynx/2.9.2 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.8.6",
        "Links (2.29; Linux 6.8.0 x86_64; GNU C 13.2; text)",
        "ELinks/0.17.0 (textmode; Linux; 80x24-2)",
        "w3m/0.5.3+git20230121",
        "URL/Emacs Emacs/29.4 (PureGTK; x86_64-pc-linux-gnu)",
        "NetSurf/3.11 (Linux)",
        "Dillo/3.1.1",
    ],
)
def test_a_person_in_a_browser_or_an_apps_own_is_taken_for_none(agent):
    assert not is_agent(agent)


def get(*headers):
    return Request("get", (("User-Agent", PERSON), *headers))


@pytest.mark.parametrize(
    "headers",
    [
        [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
        [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        [("Sec-Fetch-Dest", "script")],
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "embed")],
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Mode", "no-cors")],
        [("Purpose", "preview")],
        [("X-Purpose", "Preview")],
    ],
)
def test_a_request_that_a_browser_does_not_make_for_a_page_is_taken_for_one_of_a_program(headers):
    assert by_agent(get(*headers))


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")],
        [("Purpose", "")],
    ],
)
def test_a_navigation_of_a_browser_is_taken_for_one_of_a_person(headers):
    assert not by_agent(get(*headers))


def test_a_request_without_a_name_is_taken_for_one_of_a_program():
    assert by_agent(Request("get"))


def test_each_source_of_the_list_says_what_it_is_worth():
    for source in SOURCES:
        assert source.keys() <= {"url", "evidence", *KINDS}, source
        assert source["evidence"] in ("documented", "collected", "reported", "unverified"), source
        assert source.get("url", "").startswith("http") == (source["evidence"] != "unverified"), source


def test_each_name_of_the_list_is_there_once():
    for name in NAMES:
        re.compile(name)
    assert len(set(NAMES)) == len(NAMES) > 50
