// What the library of AWS for Java accepts: as verify.py. Its HTTP client gets the secret, which is a certificate.

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Collectors;
import software.amazon.awssdk.http.AbortableInputStream;
import software.amazon.awssdk.http.ExecutableHttpRequest;
import software.amazon.awssdk.http.HttpExecuteRequest;
import software.amazon.awssdk.http.HttpExecuteResponse;
import software.amazon.awssdk.http.SdkHttpClient;
import software.amazon.awssdk.http.SdkHttpResponse;
import software.amazon.awssdk.messagemanager.sns.SnsMessageManager;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.regions.Region;

class Verify {
    /** Client that gets the same certificate from each address. */
    record Client(String certificate) implements SdkHttpClient {
        @Override
        public ExecutableHttpRequest prepareRequest(HttpExecuteRequest request) {
            return new ExecutableHttpRequest() {
                @Override
                public HttpExecuteResponse call() {
                    var content = new ByteArrayInputStream(certificate.strip().getBytes(StandardCharsets.UTF_8));
                    return HttpExecuteResponse.builder()
                        .response(SdkHttpResponse.builder().statusCode(200).build())
                        .responseBody(AbortableInputStream.create(content))
                        .build();
                }

                @Override
                public void abort() {}
            };
        }

        @Override
        public void close() {}
    }

    static boolean accepted(JsonNode sent, boolean raises) {
        var client = new Client(sent.field("secret").get().text());
        try (var manager = SnsMessageManager.builder().httpClient(client).region(Region.US_WEST_2).build()) {
            manager.parseMessage(sent.field("body").get().text());
            return true;
        } catch (RuntimeException error) {
            if (raises) throw error;
            return false;
        }
    }

    public static void main(String[] arguments) throws Exception {
        var given = JsonNode.parser().parse(new String(System.in.readAllBytes(), StandardCharsets.UTF_8));
        var raises = List.of(arguments).contains("--raise");
        System.out.println(given.asArray().stream().map(each -> accepted(each, raises)).collect(Collectors.toList()));
    }
}
